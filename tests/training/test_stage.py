import itertools
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from torch import nn

from gazekit.training import Stage
from gazekit.training.groups import optimizer_groups, parts_of, table
from gazekit.training.stage import check_parts
from tests.scenes import unchecked
from tests.training.standin import TinyModel, stage

FAULTS = [
    ({"name": ""}, "name must be letters"),
    ({"name": "a/b"}, "got 'a/b'"),
    ({"steps": 0}, "steps must be at least 1, got 0"),
    ({"batch_size": 0}, "batch_size must be at least 1"),
    ({"accumulate": 0}, "accumulate must be at least 1"),
    ({"accumulate": 3}, "batch_size must be a multiple of accumulate, got 4 and 3"),
    ({"checkpoint_every": 0}, "checkpoint_every must be at least 1"),
    ({"learning_rates": {}}, "must train at least one part"),
    ({"learning_rates": {"tower": None}}, "must train at least one part"),
    ({"learning_rates": {"tower": 0.0}}, r"learning_rates\['tower'\] must be above 0, got 0.0; give null"),
    ({"warmup": -1}, "warmup must be between 0 and steps"),
    ({"warmup": 13}, r"warmup must be between 0 and steps \(12\), got 13"),
    ({"final": 1.5}, "final must be between 0 and 1"),
    ({"weight_decay": -0.1}, "weight_decay must not be negative"),
    ({"betas": (0.9, 1.0)}, "betas must be at least 0 and below 1"),
    ({"clip": 0.0}, "clip must be above 0, got 0.0; null turns it off"),
    ({"openness": 1.5}, "openness must be between 0"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_fault_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        stage(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decay": "cosin"}, "decay must be one of cosine, linear, constant, got 'cosin'"),
        ({"optimizer": "sgd"}, "optimizer must be one of adamw, muon, got 'sgd'"),
        ({"precision": "8-true"}, "precision must be one of 32-true, .* got '8-true'"),
    ],
)
def test_unknown_word_is_named(changes, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        stage(**changes)


@pytest.mark.parametrize("decay", ["cosine", "linear", "constant"])
@given(steps=st.integers(1, 300), warmup=st.floats(0, 0.9), final=st.floats(0, 1))
def test_rate_rises_to_its_peak_then_never_rises(decay, steps, warmup, final):
    factors = [
        stage(steps=steps, warmup=warmup, final=final, decay=decay).factor(step) for step in range(steps)
    ]
    peak = factors.index(max(factors))
    assert factors[:peak] == sorted(factors[:peak])
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(factors[peak:]))
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1)


def test_rate_by_hand():
    half = stage(steps=110, warmup=10, decay="linear", final=0.2)
    assert [half.factor(step) for step in (0, 9, 10, 60, 110)] == pytest.approx([0.1, 1, 1, 0.6, 0.2])
    assert stage(steps=110, warmup=10, decay="cosine").factor(60) == pytest.approx(0.5)
    assert stage(steps=200, warmup=0.05).warmup_steps == 10


def test_local_batch_size():
    assert stage(batch_size=32, accumulate=2).local_batch_size(num_devices=4) == 4
    with pytest.raises(ValueError, match=r"multiple of accumulate times devices \(2 x 3\), got 32"):
        stage(batch_size=32, accumulate=2).local_batch_size(num_devices=3)


def test_unknown_part_names_its_neighbour():
    with pytest.raises(
        ValueError, match="'projectr', which the model does not have; did you mean 'projector'"
    ):
        parts_of(TinyModel(), stage(learning_rates={"projectr": 1e-3}))


def test_standard_part_that_the_model_lacks_may_be_named():
    check_parts(["compressor", "tower"], ["tower"])
    parts = parts_of(TinyModel(), stage(learning_rates={"compressor": 1e-3, "projector": 1e-3}))
    assert {part.name for part in parts} == {"tower", "projector", "language"}
    with pytest.raises(ValueError, match="trains only compressor, which this model does without"):
        parts_of(TinyModel(), stage(learning_rates={"compressor": 1e-3}))


def test_groups_hold_each_trained_parameter_once_with_its_own_rate_and_decay():
    model = TinyModel()
    chosen = stage(learning_rates={"projector": 1e-2, "language": 1e-4})
    groups = optimizer_groups(parts_of(model, chosen), chosen)
    held = [parameter for group in groups for parameter in group["params"]]
    trained = [
        *model.projector.parameters(),
        *model.language_model.parameters(),
    ]  # lm_head is tied to the embedding
    assert len(held) == len(set(held)) == len(trained)
    assert set(held) == set(trained)
    language = model.language_model
    found = {
        parameter: (group["lr"], group["weight_decay"]) for group in groups for parameter in group["params"]
    }
    assert found[model.projector.weight] == (1e-2, 0.1)
    assert found[model.projector.bias] == (1e-2, 0.0)
    assert found[language.layers[0].weight] == (1e-4, 0.1)
    assert found[language.embed_tokens.weight] == (1e-4, 0.0)
    assert found[language.norm.weight] == (1e-4, 0.0)


def test_table_says_what_trains():
    chosen = stage(learning_rates={"projector": 1e-2, "context": 1e-3})
    console = Console(width=120, record=True, file=StringIO())
    console.print(table(parts_of(TinyModel(), chosen), chosen))
    lines = {line.split()[1]: line for line in console.export_text().splitlines() if "│" in line}
    assert "frozen" in lines["tower"]
    assert all(text in lines["projector"] for text in ("72", "0.01", "0.1", "8"))
    assert "none in this model" in lines["context"]


def test_stage_survives_json():
    first = stage(learning_rates={"tower": None, "projector": 1e-3})
    plain = first.as_dict()
    assert Stage(**{**plain, "betas": tuple(plain["betas"])}) == first


def test_every_child_is_a_part():
    model = TinyModel()
    model.place = nn.Embedding(4, 8)
    parts = {part.name: part for part in parts_of(model, stage(learning_rates={"place": 1e-3}))}
    assert parts["place"].size == 32
    assert parts["place"].decayed == ()
