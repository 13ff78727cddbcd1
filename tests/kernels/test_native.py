"""The C++ kernel against its naive form, and what happens where it cannot be built."""

import shutil

import pytest
import torch

from gazekit.kernels import naive, native

pytestmark = pytest.mark.usefixtures("native_kernel")


def arguments(
    heads, kv_heads, sizes, *, dim=128, value_dim=None, k=2, frees=5, batch=2, share=None, apart=False, dtype
):
    generator = torch.Generator().manual_seed(heads + dim + len(sizes))
    regions, value_dim = len(sizes), value_dim or dim
    room = sum(sizes)
    draw = lambda *shape: torch.randn(*shape, generator=generator).to(dtype)  # noqa: E731
    key, value = (
        draw(batch, kv_heads, room + frees + 9, dim),
        draw(batch, kv_heads, room + frees + 9, value_dim),
    )
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
    return {
        "query": draw(batch, heads, dim), "key": key[:, :, : room + frees], "value": value[:, :, : room + frees],
        "begin": begin, "count": count, "index": index, "free_begin": room,
        "free_seen": torch.rand(batch, kv_heads if apart else 1, frees, generator=generator) < 0.7, "scale": dim**-0.5,
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    "shape",
    [
        {"heads": 8, "kv_heads": 2, "sizes": [36] * 6},
        {"heads": 7, "kv_heads": 1, "sizes": [36, 24, 36, 24, 6], "k": 4},
        {"heads": 3, "kv_heads": 3, "sizes": [9, 1, 64], "share": 1},
        {"heads": 8, "kv_heads": 2, "sizes": [36] * 4, "share": 2},
        {"heads": 4, "kv_heads": 2, "sizes": [1] * 17, "k": 9, "apart": False},
        {"heads": 4, "kv_heads": 2, "sizes": [5, 7, 3], "apart": True},
        {"heads": 4, "kv_heads": 2, "sizes": [5, 7], "dim": 20},
        {"heads": 4, "kv_heads": 2, "sizes": [5, 7], "dim": 96, "value_dim": 40},
        {"heads": 4, "kv_heads": 2, "sizes": [], "k": 0},
        {"heads": 4, "kv_heads": 2, "sizes": [5], "k": 1, "frees": 0},
    ],
    ids=str,
)  # fmt: skip
def test_it_equals_the_naive_form(shape, dtype):
    given = arguments(**shape, dtype=dtype)
    found, expected = native.decode(**given), naive.decode(**given)
    assert found.dtype == dtype
    error = (found.float() - expected.float()).norm() / expected.float().norm().clamp_min(1e-9)
    assert error < (1e-6 if dtype == torch.float32 else 4e-3)


def test_who_sees_nothing_gets_zeros():
    given = arguments(4, 2, [5, 7], dtype=torch.float32)
    given["index"] = torch.full_like(given["index"], -1)
    given["free_seen"] = torch.zeros_like(given["free_seen"])
    assert not native.decode(**given).any()


def test_what_is_not_looked_at_is_never_read():
    given = arguments(8, 2, [36] * 6, dtype=torch.float32)
    before = native.decode(**given)
    looked = torch.zeros(given["key"].shape[:3], dtype=torch.bool)
    for b in range(2):
        for head, regions in enumerate(given["index"][b].tolist()):
            for region in filter(lambda r: r >= 0, regions):
                first = int(given["begin"][b, 0, region])
                looked[b, head // 4, first : first + 36] = True
        looked[b, :, given["free_begin"] :] = given["free_seen"][b, 0]
    given["key"] = given["key"].masked_fill(~looked[..., None], torch.nan)
    given["value"] = given["value"].masked_fill(~looked[..., None], torch.nan)
    assert torch.equal(native.decode(**given), before)


def test_two_threads_give_the_same_bits(monkeypatch):
    given = arguments(8, 2, [36] * 6, dtype=torch.bfloat16)
    one = native.decode(**given)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert torch.equal(native.decode(**given), one)


def test_it_is_built_once():
    first = native.build().stat().st_mtime_ns
    assert native.build().stat().st_mtime_ns == first
    assert native.missing() is None


def test_without_a_build_it_says_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("GAZEKIT_CACHE", str(tmp_path))
    native.forget()
    assert "gazekit doctor --build" in native.missing()
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


def test_a_group_beyond_its_bits_is_refused():
    with pytest.raises(ValueError, match="at most 64 query heads may share a KV head, got 65"):
        native.decode(**arguments(65, 1, [4], k=1, dtype=torch.float32))


def test_what_the_compiler_says_is_shown(monkeypatch, tmp_path):
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is no C++")
    monkeypatch.setenv("GAZEKIT_CACHE", str(tmp_path))
    monkeypatch.setattr(native, "_SOURCE", broken)
    with pytest.raises(RuntimeError, match="error"):
        native.build()
