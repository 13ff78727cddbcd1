"""The C++ kernels against their naive forms, at every level, and what happens where they cannot be built."""

import shutil

import pytest
import torch

from gazekit.kernels import library, naive, native
from gazekit.kernels.naive import TokenFacts

pytestmark = pytest.mark.usefixtures("native_kernel")

DTYPES = [torch.float32, torch.bfloat16]
CONTEXT = 3


@pytest.fixture(params=native.LEVELS, scope="module")
def level(request, tmp_path_factory):
    """Each level that this processor can run, built once."""
    if (reason := native.unbuildable()) is not None:
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAZEKIT_CACHE", str(tmp_path_factory.getbasetemp() / "built"))
        patch.setenv("GAZEKIT_NATIVE_LEVEL", request.param)
        try:
            native.build()
        except ValueError as error:
            pytest.skip(str(error))
        native.forget()
        yield request.param
    native.forget()


def facts(generator, *shape):
    """Tokens by lot: padding, text, images and context of three units in two documents."""
    draw = lambda low, high: torch.randint(low, high, shape, generator=generator)  # noqa: E731
    return TokenFacts(kind=draw(0, 4), unit=draw(0, 3), document=draw(0, 2), order=draw(0, 9))


def arguments(
    heads, kv_heads, sizes, *, dim=128, value_dim=None, k=2, frees=5, batch=2, share=None, apart=False, kind=1, dtype
):  # fmt: skip
    generator = torch.Generator().manual_seed(heads + dim + len(sizes))
    regions, value_dim = len(sizes), value_dim or dim
    room = sum(sizes)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(dtype)  # noqa: E731
    key, value = (draw(batch, kv_heads, room + frees + 9, width) for width in (dim, value_dim))
    count = (
        torch.tensor(sizes, dtype=torch.int64).expand(batch, kv_heads if apart else 1, regions).contiguous()
    )
    begin = count.cumsum(-1) - count
    if apart:
        count = count - torch.arange(kv_heads)[None, :, None] % 2
    index_heads = share or heads
    lots = torch.rand(batch, index_heads, regions, generator=generator)
    index = lots.argsort(-1)[..., :k].sort(-1).values.to(torch.int32)
    if k > 1 and regions:
        index[0, 0, -1] = -1
    asked = facts(generator, batch, kv_heads if apart else 1, room + frees + 9)
    asking = TokenFacts(*(torch.full((batch, 1, 1), fact) for fact in (kind, 1, 1, 6)))
    return {
        "query": draw(batch, heads, dim), "key": key[:, :, : room + frees], "value": value[:, :, : room + frees],
        "begin": begin, "count": count, "index": index, "row": torch.zeros(batch, dtype=torch.int64),
        "free_begin": room, "asking": asking, "asked": TokenFacts(*(f[..., : room + frees] for f in asked)),
        "confined": frozenset({CONTEXT}), "scale": dim**-0.5,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape",
    [
        {"heads": 8, "kv_heads": 2, "sizes": [36] * 6},
        {"heads": 7, "kv_heads": 1, "sizes": [36, 24, 36, 24, 6], "k": 4},
        {"heads": 14, "kv_heads": 2, "sizes": [36, 130, 65], "k": 3},
        {"heads": 3, "kv_heads": 3, "sizes": [9, 1, 64], "share": 1},
        {"heads": 8, "kv_heads": 2, "sizes": [36] * 4, "share": 2, "frees": 130},
        {"heads": 4, "kv_heads": 2, "sizes": [1] * 17, "k": 9, "apart": False},
        {"heads": 4, "kv_heads": 2, "sizes": [5, 7, 3], "apart": True},
        {"heads": 4, "kv_heads": 2, "sizes": [5, 7], "dim": 20},
        {"heads": 4, "kv_heads": 2, "sizes": [5, 7], "dim": 96, "value_dim": 40},
        {"heads": 6, "kv_heads": 2, "sizes": [5, 7], "dim": 64, "value_dim": 160, "kind": CONTEXT},
        {"heads": 4, "kv_heads": 2, "sizes": [], "k": 0},
        {"heads": 4, "kv_heads": 2, "sizes": [5], "k": 1, "frees": 0},
    ],
    ids=str,
)
def test_it_equals_the_naive_form(level, shape, dtype):
    given = arguments(**shape, dtype=dtype)
    found, expected = native.decode(**given), naive.decode(**given)
    assert found.dtype == dtype
    error = (found.float() - expected.float()).norm() / expected.float().norm().clamp_min(1e-9)
    assert error < (1e-6 if dtype == torch.float32 else 4e-3)


@pytest.mark.parametrize("dtype", DTYPES)
def test_who_sees_nothing_gets_zeros(level, dtype):
    given = arguments(4, 2, [5, 7], dtype=dtype)
    given["index"] = torch.full_like(given["index"], -1)
    given["asked"] = given["asked"]._replace(kind=torch.zeros_like(given["asked"].kind))
    assert not native.decode(**given).any()


def test_places_may_be_integers_of_any_width(level):
    given = arguments(8, 2, [36, 7, 36, 5], dtype=torch.float32)
    narrow = {name: given[name].to(torch.int32) for name in ("begin", "count", "row")}
    assert torch.equal(native.decode(**given | narrow), native.decode(**given))


def test_padding_looks_at_no_region(level):
    given = arguments(4, 2, [5, 7], frees=0, dtype=torch.float32)
    given["row"] = torch.tensor([0, -1])
    found = native.decode(**given)
    assert found[0].any()
    assert not found[1].any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_looked_at_is_never_read(level, dtype):
    given = arguments(8, 2, [36] * 6, dtype=dtype)
    before = native.decode(**given)
    looked = torch.zeros(given["key"].shape[:3], dtype=torch.bool)
    for b in range(2):
        for head, regions in enumerate(given["index"][b].tolist()):
            for region in filter(lambda r: r >= 0, regions):
                first = int(given["begin"][b, 0, region])
                looked[b, head // 4, first : first + 36] = True
    asked, asking = given["asked"], given["asking"]
    seen = (asked.kind > 0) & (asked.document == asking.document) & (asked.order <= asking.order)
    looked[:, :, given["free_begin"] :] |= seen[..., given["free_begin"] :]
    given["key"] = given["key"].masked_fill(~looked[..., None], torch.nan)
    given["value"] = given["value"].masked_fill(~looked[..., None], torch.nan)
    assert torch.equal(native.decode(**given), before)


def test_logits_far_apart_in_any_order_neither_overflow_nor_vanish(level):
    """The softmax is rescaled on the way: the highest logit may come first, last or between."""
    for place in (0, 100, 215):
        given = arguments(4, 2, [36] * 6, k=6, frees=0, batch=1, dtype=torch.float32)
        given["index"] = torch.arange(6, dtype=torch.int32).expand(1, 4, 6).contiguous()
        given["key"] = given["key"].clone()
        given["key"][:, :, place] = 40.0 * given["query"][:, ::2]
        expected = given["value"][:, :, place].repeat_interleave(2, dim=1)[:, ::2]
        torch.testing.assert_close(native.decode(**given)[:, ::2], expected)


def test_two_threads_give_the_same_bits(level, monkeypatch):
    given = arguments(8, 2, [36] * 6, dtype=torch.bfloat16)
    one = native.decode(**given)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert torch.equal(native.decode(**given), one)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(8, 2, 285, 128), (7, 1, 70, 64), (3, 3, 1, 20), (4, 2, 5, 32)], ids=str)
def test_scores_equal_the_naive_form(level, shape, dtype):
    heads, kv_heads, regions, dim = shape
    generator = torch.Generator().manual_seed(heads)
    query = torch.randn(2, heads, dim, generator=generator).to(dtype)
    descriptor = torch.randn(2, kv_heads, regions + 3, dim, generator=generator)[:, :, :regions]
    torch.testing.assert_close(
        native.scores(query, descriptor), naive.scores(query, descriptor), rtol=1e-5, atol=1e-4
    )


def test_equal_descriptors_get_equal_scores_wherever_they_lie(level):
    generator = torch.Generator().manual_seed(0)
    one = torch.randn(1, 2, 1, 128, generator=generator)
    scores = native.scores(
        torch.randn(1, 6, 128, generator=generator), one.expand(-1, -1, 151, -1).contiguous()
    )
    assert torch.equal(scores, scores[..., :1].expand_as(scores))


@pytest.mark.parametrize("k", [1, 4, 40, 500])
@pytest.mark.parametrize("openness", [0.0, 0.3, 0.99])
def test_it_selects_as_the_naive_form_does_ties_included(level, k, openness):
    generator = torch.Generator().manual_seed(k)
    scores = torch.randn(2, 3, 2, 133, generator=generator)
    scores[0] = scores[0].round()  # many equal ones, zeros of both signs among them
    scores[1, 0] = 1.0
    scores[1, 1, :, ::3] = torch.tensor([-torch.inf, torch.inf, -0.0]).repeat(15)[:45]
    complete = torch.rand(2, 2, 133, generator=generator) < 0.8
    complete[1, 1] = False
    found = native.select(scores, complete, k, openness)
    assert found.dtype == torch.int32
    assert torch.equal(found, naive.select(scores, complete, k, openness))


def test_without_regions_nothing_is_selected(level):
    found = native.select(torch.empty(1, 2, 1, 0), torch.empty(1, 1, 0, dtype=torch.bool), 3)
    assert found.shape == (1, 2, 1, 0)


def test_it_serves_what_torch_need_not_differentiate():
    plain, tracked = torch.zeros(2), torch.zeros(2, requires_grad=True)
    assert native.serves(plain)
    assert not native.serves(plain, tracked)
    assert not native.serves(plain.to("meta"))
    with torch.no_grad():
        assert native.serves(tracked)


def test_it_is_built_once():
    first = native.build().stat().st_mtime_ns
    assert native.build().stat().st_mtime_ns == first
    assert native.missing() is None


def test_the_level_is_the_best_that_the_processor_has(monkeypatch):
    monkeypatch.delenv("GAZEKIT_NATIVE_LEVEL", raising=False)
    for instructions, best in (
        (frozenset({"sse2"}), "portable"),
        (library._AVX512, "avx512"),
        (library._AVX512 | {"avx512_bf16"}, "avx512_bf16"),
    ):
        monkeypatch.setattr(library, "_instructions", lambda found=instructions: found)
        assert native.level() == best


def test_a_level_that_the_processor_has_not_is_refused(monkeypatch):
    monkeypatch.setattr(library, "_instructions", lambda: library._AVX512)
    monkeypatch.setenv("GAZEKIT_NATIVE_LEVEL", "avx512_bf16")
    with pytest.raises(
        ValueError, match="GAZEKIT_NATIVE_LEVEL must be one of avx512, portable on this processor"
    ):
        native.level()


def test_portable_code_says_that_it_is(monkeypatch):
    monkeypatch.setenv("GAZEKIT_NATIVE_LEVEL", "portable")
    native.build()
    native.forget()
    assert not native.is_vectorised()


def test_without_a_build_it_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("GAZEKIT_CACHE", str(tmp_path))
    native.forget()
    assert "gazekit doctor --build" in native.missing()
    assert not native.serves(torch.zeros(2))
    with pytest.raises(RuntimeError, match="not built yet"):
        native.decode(**arguments(2, 1, [4], k=1, dtype=torch.float32))
    monkeypatch.setenv("GAZEKIT_NATIVE", "1")
    native.forget()
    assert native.missing() is None


def test_without_a_compiler_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("GAZEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    native.forget()
    assert "no C++ compiler" in native.missing()
    with pytest.raises(RuntimeError, match=r"cannot be built: there is no C\+\+ compiler"):
        native.build()


@pytest.mark.parametrize("share", [None, 2, 1])
def test_a_group_beyond_its_bits_is_served_in_parts(level, share):
    given = arguments(130, 2, [4, 5, 3], k=2, dim=16, share=share, dtype=torch.float32)
    torch.testing.assert_close(native.decode(**given), naive.decode(**given))


def test_what_the_compiler_says_is_shown(monkeypatch, tmp_path):
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is no C++")
    monkeypatch.setenv("GAZEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(library, "_SOURCES", (broken,))
    with pytest.raises(RuntimeError, match="error"):
        native.build()
