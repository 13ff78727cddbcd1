"""`gazekit bench train` measures what it says; nothing here asserts on time."""

import json

import pytest
import torch

from gazekit.bench import TrainShape, bench_train
from gazekit.bench.decoder import layers_of
from gazekit.bench.memory import peak_bytes
from gazekit.gaze import shape_of

TINY = {
    "sizes": shape_of("1,4,2,16,32"),
    "mlp_dim": 48,
    "visual": 150,
    "attend": 72,
    "text": 20,
    "context": 2,
}


def last(scope: str, backends: list[str], **change):
    *_, found = bench_train(
        TrainShape(**{**TINY, **change}, scope=scope, dtype=torch.float32), backends, repeats=1
    )
    return {one.backend: one for one in found}


@pytest.mark.parametrize("scope", ["attention", "layer"])
def test_it_measures_beside_the_fastest_dense_form(scope):
    found = last(scope, ["masked"], batch=2)
    dense = [one for name, one in found.items() if name.startswith("dense")]
    assert found["masked"].dense_ms == min(one.ms for one in dense)
    fastest = min(dense, key=lambda one: one.ms)
    for one in found.values():
        assert one.tokens == 2 * (150 + 2 * 2 + 20)  # 6 x 24 and 6 tokens are two units
        assert one.time_over_dense == pytest.approx(one.ms / fastest.ms)
        assert one.memory_over_dense == pytest.approx(one.peak_bytes / fastest.peak_bytes)
        assert one.tokens_per_second == pytest.approx(1e3 * one.tokens / one.ms)
    # A step holds the output and three gradients at least.
    assert fastest.peak_bytes > 2 * 174 * 32 * 4 * 2


def test_a_backend_that_refuses_is_listed_with_its_reason():
    found = last("attention", ["flex"])
    assert found["flex"].ms is None
    assert "no backward" in found["flex"].refused


def test_an_unknown_backend_is_an_error():
    with pytest.raises(ValueError, match="backend must be one of"):
        last("layer", ["maskd"])


def test_layers_share_their_weights_and_look_as_they_are_told():
    shape = TrainShape(**TINY, dtype=torch.float32)
    plain = layers_of(shape.sizes, 48, 2)
    gazing = layers_of(shape.sizes, 48, 2, shape.gaze("masked"), like=plain)
    for mine, other in zip(plain.parameters(), gazing.parameters(), strict=True):
        assert mine is other
    hidden, layout = torch.randn(1, shape.layout.length, 32), shape.layout
    with torch.no_grad():
        dense, looked = plain(hidden, layout), gazing(hidden, layout)
    text = layout.tokens.kind[0, 0] == 1
    # Context tokens see their own unit alone; what precedes them is dense.
    torch.testing.assert_close(dense[:, :100], looked[:, :100])
    assert not torch.allclose(dense[:, text], looked[:, text], atol=1e-3)


def test_peak_is_what_is_held_at_once():
    def one_after_another():
        for _ in range(3):
            torch.ones(250_000)

    def at_once():
        return [torch.ones(250_000) for _ in range(3)]

    kept = torch.ones(250_000)
    assert peak_bytes(one_after_another, "cpu") == pytest.approx(1e6, rel=0.01)
    assert peak_bytes(at_once, "cpu") == pytest.approx(3e6, rel=0.01)
    assert peak_bytes(lambda: kept.mul_(1.0), "cpu") < 1e4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attend": 2000}, "attend must be at most the 150 visual tokens, got 2000"),
        ({"batch": 0}, "batch must be at least 1, got 0"),
        ({"scope": "model"}, "scope must be one of attention, layer, got 'model'"),
    ],
)
def test_impossible_shapes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainShape(**{**TINY, **change})


def test_the_command_prints_and_writes(run, tmp_path):
    file = tmp_path / "out" / "train.json"
    words = [
        "--shape",
        "1,4,2,16,32",
        "--visual",
        "100",
        "150",
        "--attend",
        "72",
        "--text",
        "20",
        "--repeats",
        "1",
    ]
    code, out, _ = run(
        "bench",
        "train",
        *words,
        "--backend",
        "masked",
        "flex",
        "--dtype",
        "fp32",
        "--device",
        "cpu",
        "--json",
        file,
    )
    assert code == 0
    assert "150 visual of" in out
    assert "flex: backend 'flex' cannot do this" in out
    table = json.loads(file.read_text())
    assert [one["backend"] for one in table["results"]] == ["dense", "masked", "flex"] * 2
    assert {"machine", "versions"} < set(table)
    assert run("bench", "train", "--shape", "qwen4")[0] == 2
