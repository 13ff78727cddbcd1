"""The Triton kernels against their naive forms: in the interpreter, or compiled where there is a CUDA device."""

import inspect
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from gazekit.kernels import naive, triton
from gazekit.kernels.step import Facts, Partial

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

pytestmark = pytest.mark.usefixtures("triton_kernels")


def step(
    heads=4, kv_heads=2, sizes=(5, 7, 3), *, dim=16, value_dim=None, k=2, frees=9, batch=2, share=None, apart=False,
    dtype=torch.float32,
):  # fmt: skip
    """The arguments of a decoding step, on DEVICE; the second sample has no more than three free entries."""
    generator = torch.Generator().manual_seed(heads + dim + len(sizes))
    regions, room, value_dim = len(sizes), sum(sizes), value_dim or dim
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(dtype)  # noqa: E731
    key, value = (draw(batch, kv_heads, room + frees + 5, width) for width in (dim, value_dim))
    count = (
        torch.tensor(sizes, dtype=torch.int64).expand(batch, kv_heads if apart else 1, regions).contiguous()
    )
    begin = count.cumsum(-1) - count
    if apart:
        count = count - torch.arange(kv_heads)[None, :, None] % 2
    lots = torch.rand(batch, share or heads, regions, generator=generator)
    index = lots.argsort(-1)[..., :k].sort(-1).values.to(torch.int32)
    if k > 1:
        index[0, 0, -1] = -1
    kind = torch.randint(0, 3, (batch, kv_heads if apart else 1, frees), generator=generator)
    order = torch.randint(0, 12, kind.shape, generator=generator)
    # The first is real, and just not too late.
    kind[..., :1], order[..., :1], kind[1, :, 3:] = 1, 9, 0
    facts = Facts.alike(kind, torch.zeros_like(kind), order)
    one = torch.ones(batch, 1, 1, dtype=torch.int64)
    given = {
        "query": draw(batch, heads, dim), "key": key[:, :, : room + frees], "value": value[:, :, : room + frees],
        "begin": begin, "count": count, "index": index, "row": torch.zeros(batch, dtype=torch.int64),
        "asking": Facts.alike(one, 0 * one, 9 * one), "free": facts, "free_begin": room, "scale": dim**-0.5,
    }  # fmt: skip
    return {name: there(thing) for name, thing in given.items()}


def there(thing, device=DEVICE):
    """The same on a device; views of larger buffers stay views."""
    if isinstance(thing, Facts):
        return Facts.alike(*(there(field, device) for field in vars(thing).values()))
    return thing.to(device) if isinstance(thing, torch.Tensor) else thing


def expected(given):
    """What the naive forms of the three kernels say."""
    given = {name: there(thing, "cpu") for name, thing in given.items()}
    listing = [given.pop(name) for name in ("index", "row", "begin", "count")]
    union = naive.unite(*listing, given["query"].shape[1], given["key"].shape[1])
    return naive.combine(naive.attend(union=union, **given), given["value"].dtype)


SHAPES = {
    "36": {"heads": 8, "kv_heads": 2, "sizes": [36] * 6},
    "36, edges": {"heads": 7, "kv_heads": 1, "sizes": [36, 24, 36, 24, 6], "k": 4},
    "9": {"heads": 7, "kv_heads": 1, "sizes": [9] * 9, "k": 3},
    "64": {"heads": 3, "kv_heads": 3, "sizes": [64] * 3, "share": 3},
    "1": {"heads": 4, "kv_heads": 2, "sizes": [1] * 17, "k": 9},
    "for all heads": {"heads": 3, "kv_heads": 3, "sizes": [9, 1, 64], "share": 1},
    "for a group": {"heads": 8, "kv_heads": 2, "sizes": [36] * 4, "share": 2},
    "kept apart": {"heads": 4, "kv_heads": 2, "sizes": [5, 7, 1], "apart": True},
    "odd widths": {"sizes": [5, 7], "dim": 20, "value_dim": 40},
    "no free entry": {"sizes": [5, 2], "k": 1, "frees": 0},
    "32 heads of one": {"heads": 32, "kv_heads": 1, "sizes": [4, 4, 4]},
    "32 heads together": {"heads": 32, "kv_heads": 1, "sizes": [4, 4, 4], "share": 1},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
@pytest.mark.parametrize("name", SHAPES)
def test_decoding_equals_the_naive_form(name, dtype):
    given = step(**SHAPES[name], dtype=dtype)
    found, wanted = triton.decode(**given), expected(given)
    assert found.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 1e-3
    torch.testing.assert_close(found.cpu(), wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("pieces", [2, 8])
def test_the_number_of_pieces_changes_nothing(pieces):
    given = step(8, 2, [36, 24, 36, 6], k=3, frees=80)
    one, several = triton.decode(**given, pieces=1), triton.decode(**given, pieces=pieces)
    torch.testing.assert_close(several, one, rtol=1e-6, atol=1e-6)


def test_the_list_equals_the_naive_one():
    from gazekit.kernels.union import unite

    for shape in (
        SHAPES["36, edges"],
        SHAPES["for a group"],
        {"sizes": [5, 0, 7, 3], "k": 4, "apart": False},
    ):
        given = step(**shape)
        given["row"][1] = -1
        heads, kv_heads = given["query"].shape[1], given["key"].shape[1]
        arguments = [given[name] for name in ("index", "row", "begin", "count")]
        found, wanted = (form(*arguments, heads, kv_heads) for form in (unite, naive.unite))
        assert torch.equal(found.regions.cpu(), wanted.regions.int())
        assert not found.regions[1].any()
        for b, kv in torch.cartesian_prod(*(torch.arange(n) for n in wanted.regions.shape)).tolist():
            length = int(wanted.regions[b, kv])
            for name in ("shift", "heads", "ends"):
                field, other = (getattr(union, name)[b, kv, :length].tolist() for union in (found, wanted))
                assert field == other, name


def test_a_piece_equals_the_naive_one():
    from gazekit.kernels.attend import attend_pieces

    given = step(**SHAPES["36, edges"])
    union = naive.unite(*(there(given[name], "cpu") for name in ("index", "row", "begin", "count")), 7, 1)
    arguments = {
        name: given[name] for name in ("query", "key", "value", "asking", "free", "free_begin", "scale")
    }
    wanted = naive.attend(union=union, **{name: there(thing, "cpu") for name, thing in arguments.items()})
    device = {name: there(field) for name, field in vars(union).items()}
    narrow = {name: field.int() if name != "shift" else field for name, field in device.items()}
    found = attend_pieces(union=type(union)(**narrow), pieces=1, **arguments)
    torch.testing.assert_close(found.out.cpu(), wanted.out, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.lse.cpu(), wanted.lse, rtol=1e-5, atol=1e-5)


def test_putting_together_equals_the_naive_form():
    from gazekit.kernels.combine import combine

    generator = torch.Generator().manual_seed(0)
    lse = torch.randn(2, 3, 4, generator=generator) * 9
    lse[0, :, 1], lse[1, 2] = -torch.inf, -torch.inf
    out = torch.randn(2, 3, 4, 20, generator=generator).masked_fill((lse == -torch.inf)[..., None], 0.0)
    wanted = naive.combine(Partial(out, lse), torch.float32)
    found = combine(Partial(out.to(DEVICE), lse.to(DEVICE)), torch.float32).cpu()
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)
    assert not found[1, 2].any()


def test_who_sees_nothing_gets_zeros():
    given = step(sizes=[5, 7])
    given["row"][0] = -1
    given["free"].kind[0] = 0
    found = triton.decode(**given)
    assert not found[0].any()
    assert found[1].any()


def test_a_padded_query_gets_zeros():
    given = step(sizes=[5, 7])
    given["row"][0], given["asking"].kind[0] = -1, 0
    assert not triton.decode(**given)[0].any()


def test_what_is_not_looked_at_is_never_read():
    given = step(8, 2, [36] * 6)
    before = triton.decode(**given)
    looked = torch.zeros(given["key"].shape[:3], dtype=torch.bool, device=DEVICE)
    for b in range(2):
        for head, regions in enumerate(given["index"][b].tolist()):
            for region in filter(lambda r: r >= 0, regions):
                first = int(given["begin"][b, 0, region])
                looked[b, head // 4, first : first + 36] = True
        free = given["free"]
        looked[b, :, given["free_begin"] :] = (free.kind[b, 0] != 0) & (free.order[b, 0] <= 9)
    assert not looked.all()
    for name in ("key", "value"):
        given[name] = given[name].masked_fill(~looked[..., None], torch.nan)
    assert torch.equal(triton.decode(**given), before)


@pytest.mark.parametrize(("regions", "rows", "k"), [(1, 1, 1), (11, 2, 3), (11, 2, 30), (2100, 1, 700)])
def test_selecting_equals_the_naive_form(regions, rows, k):
    generator = torch.Generator().manual_seed(regions)
    # Rounded, so that many are equal, zeros of both signs among them.
    scores = (torch.randn(2, 2, rows, regions, generator=generator) * 3).round() / 2
    complete = torch.rand(2, rows, regions, generator=generator) < 0.7
    complete[1, 0] = False
    found = triton.select(scores.to(DEVICE), complete.to(DEVICE), k).cpu()
    assert torch.equal(found, naive.select(scores, complete, k))
    assert (found[1, :, 0] == -1).all()


def test_of_many_equals_the_first_are_taken():
    scores = torch.ones(1, 1, 1, 2100, device=DEVICE)
    complete = torch.ones(1, 1, 2100, dtype=torch.bool, device=DEVICE)
    assert triton.select(scores, complete, 2060).flatten().tolist() == list(range(2060))


def test_the_sign_of_a_zero_and_infinities_are_no_matter():
    scores = torch.tensor([[[[-0.0, 0.0, -0.0, -torch.inf, torch.inf, -1e-38]]]], device=DEVICE)
    complete = torch.ones(1, 1, 6, dtype=torch.bool, device=DEVICE)
    chosen = [triton.select(scores, complete, k)[0, 0, 0].tolist() for k in (1, 2, 3, 5)]
    assert chosen == [[4], [0, 4], [0, 1, 4], [0, 1, 2, 4, 5]]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "regions", "dim"), [(8, 2, 70, 16), (7, 1, 3, 20), (3, 3, 33, 8)]
)
def test_scores_equal_the_naive_form(heads, kv_heads, regions, dim):
    generator = torch.Generator().manual_seed(heads)
    query, descriptor = (
        torch.randn(2, *shape, generator=generator) for shape in ((heads, dim), (kv_heads, regions, dim))
    )
    found = triton.scores(query.to(DEVICE), descriptor.to(DEVICE)).cpu()
    torch.testing.assert_close(found, naive.scores(query, descriptor), rtol=1e-5, atol=1e-5)


def test_pieces_fill_the_processors_and_no_more():
    assert triton.pieces_of(8, 20_000, 132) == 32
    assert triton.pieces_of(64, 20_000, 132) == 4
    assert triton.pieces_of(256, 20_000, 132) == triton.pieces_of(8, 50, 132) == 1
    assert triton.pieces_of(1, 10**6, 132) == 64


@pytest.mark.parametrize("share", [None, 1])
def test_a_group_beyond_its_bits_is_served_in_parts(share):
    given = step(33, 1, [4, 5], k=1, share=share)
    torch.testing.assert_close(triton.decode(**given).cpu(), expected(given), rtol=1e-5, atol=1e-5)


def test_facts_that_do_not_lie_alike_are_copied():
    kind, even = torch.ones(1, 2, 8, dtype=torch.int64), torch.arange(32).view(1, 2, 16)[..., ::2]
    facts = Facts.alike(kind, even, kind)
    assert {field.stride() for field in vars(facts).values()} == {(16, 8, 1)}
    assert torch.equal(facts.document, even)


def launched(monkeypatch, call):
    """What decides which variants of the kernels a call runs: constants, types, and what is 1 or divides by 16."""
    from triton.runtime.interpreter import InterpretedFunction

    seen = []

    def run(self, *args, grid, warmup, **kwargs):
        numbers = {name: kwargs[name] for name in self.arg_names if name in kwargs}
        whatever, wherever = (self.kwargs[f"do_not_specialize{of}"] or () for of in ("", "_on_alignment"))
        key = [self.fn.__name__]
        for name, value in inspect.signature(self.fn).bind(*args, **numbers).arguments.items():
            if isinstance(value, torch.Tensor):
                key.append((name, value.dtype, name in wherever or value.data_ptr() % 16 == 0))
            elif name.isupper():
                key.append((name, value))
            elif name not in whatever:
                key.append((name, type(value), value == 1, value % 16 == 0))
        seen.append(key)
        return original(self, *args, grid=grid, warmup=warmup, **kwargs)

    original = InterpretedFunction.run
    with monkeypatch.context() as patch:
        patch.setattr(InterpretedFunction, "run", run)
        call()
    return seen


def late(given, place):
    """The query as the last of so many tokens, of which the fields are views."""
    one = torch.ones(2, 1, place + 1, dtype=torch.int64, device=DEVICE)
    asking = Facts.alike(*(field[..., place:] for field in (one, 0 * one, 9 * one)))
    row = torch.zeros(2, place + 1, dtype=torch.int64, device=DEVICE)[:, place]
    return {**given, "asking": asking, "row": row}


def decode_and_select(k, frees, place):
    triton.decode(**late(step(4, 2, [1] * 33, k=k, frees=frees), place), pieces=2)
    scores = torch.rand(1, 2, 1, 33, device=DEVICE)
    triton.select(scores, torch.ones(1, 1, 33, dtype=torch.bool, device=DEVICE), k)


STEPS = [(2, 1, 8), (16, 16, 9), (33, 9, 15)]


@pytest.mark.skipif(DEVICE == "cuda", reason="the compiled variants are counted by another test")
def test_another_k_and_a_longer_answer_compile_nothing(monkeypatch):
    first = launched(monkeypatch, lambda: decode_and_select(1, 8, 2))
    assert [key[0] for key in first] == ["unite_kernel", "attend_kernel", "combine_kernel", "select_kernel"]
    for k, frees, place in STEPS:
        call = partial(decode_and_select, k, frees, place)
        for again, key in zip(launched(monkeypatch, call), first, strict=True):
            assert again == key


@pytest.mark.gpu
def test_another_k_is_not_compiled():
    from gazekit.kernels.attend import attend_kernel
    from gazekit.kernels.route import select_kernel
    from gazekit.kernels.union import unite_kernel

    def variants():
        kernels = (unite_kernel, attend_kernel, select_kernel)
        return sum(len(cache[0]) for kernel in kernels for cache in kernel.device_caches.values())

    decode_and_select(1, 8, 2)
    before = variants()
    for arguments in STEPS:
        decode_and_select(*arguments)
    assert variants() == before > 0


@pytest.mark.gpu
@pytest.mark.parametrize("name", SHAPES)
def test_bf16(name):
    given = step(**SHAPES[name], dtype=torch.bfloat16)
    found, wanted = triton.decode(**given).cpu().float(), expected(given).float()
    assert (found - wanted).norm() / wanted.norm() < 2e-2


@pytest.mark.gpu
def test_a_cuda_graph_holds_a_step():
    given = step(**SHAPES["36, edges"], dtype=torch.bfloat16)
    scores = torch.rand(2, 7, 1, 5, device="cuda")
    complete = torch.ones(2, 1, 5, dtype=torch.bool, device="cuda")

    def once():
        return triton.decode(**{**given, "index": triton.select(scores, complete, 3)[:, :, 0]})

    once()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        held = once()
    for _ in range(2):
        scores.uniform_()
        given["query"].normal_()
        given["free"].order.random_(0, 12)
        graph.replay()
        assert torch.equal(held, once())


def test_they_compile_for_a_gpu_that_is_not_here(tmp_path):
    """In bf16, at the widths of Qwen3; the interpreter does not see what the compiler would refuse."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    script = Path(__file__).with_name("compile_for_hopper.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == [
        "attend_kernel",
        "unite_kernel",
        "combine_kernel",
        "scores_kernel",
        "select_kernel",
    ]


def test_without_triton_it_says_how_to_get_it(monkeypatch):
    assert triton.missing() is None
    monkeypatch.setattr(triton.importlib.util, "find_spec", lambda name: None)
    assert "pip install 'gazekit[triton]'" in triton.missing()


def test_kernels_serve_on_a_gpu_alone_and_without_gradients():
    there = torch.ones(2, device=DEVICE)
    assert triton.serves(there) == (DEVICE == "cuda")
    assert not triton.serves(there, torch.ones(2))
    assert not triton.serves(there.requires_grad_())
