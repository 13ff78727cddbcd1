"""Operations counted against a count by hand; rates against a clock."""

import pytest
import torch

from gazekit.data import DigitsData
from gazekit.training import read_history
from gazekit.training.groups import parts_of
from gazekit.training.throughput import Meter, entries_of, peak_of, work_of
from tests.training.standin import TinyModel
from tests.training.test_cambrian import MOSAIC, make, stage, train


def brute(visual, valid, document, share):
    total = 0.0
    for row in range(len(visual)):
        for query in range(len(visual[row])):
            if not valid[row][query]:
                continue
            for key in range(query + 1):
                if valid[row][key] and document[row][key] == document[row][query]:
                    text = not visual[row][query]
                    total += share if visual[row][key] and text else 1.0
    return total


def test_entries_are_those_that_queries_attend():
    torch.manual_seed(0)
    visual = torch.rand(3, 12) < 0.5
    valid = torch.arange(12) < torch.tensor([[12], [9], [1]])
    document = (torch.arange(12) // 5).expand(3, -1).masked_fill(~valid, -1)
    visual &= valid
    for share in (1.0, 0.25):
        assert float(entries_of(visual, valid, document, share)) == pytest.approx(
            brute(visual, valid, document, share)
        )


def work(**rates):
    model = make().model
    return model, work_of(model, parts_of(model, stage(learning_rates=rates)))


def test_work_of_a_token_is_that_of_its_products():
    """Layers of two attention projections of width 16, two of width 8, three of 16 x 24; the output layer 16 x V."""
    model, all_of_it = work(tower=1.0, projector=1.0, context=1.0, language=1.0)
    text = model.config.text_config
    products = 2 * (2 * 16 * 16 + 2 * 16 * 8 + 3 * 16 * 24) + 16 * text.vocab_size
    norms = 16 + 2 * (2 * 16 + 2 * 8)
    assert all_of_it.token == 2 * 3 * (products + norms)
    assert all_of_it.entry == 3 * 4 * 8 * 2 * 2
    _, below = work(projector=1.0)
    assert below.token == 2 * 2 * (products + norms)
    _, cached = model, work_of(model, parts_of(model, stage(learning_rates={"projector": 1.0})), cached=True)
    assert 0 < cached.unit < below.unit < all_of_it.unit


def test_a_model_that_is_not_known_has_no_work():
    model = TinyModel()
    assert work_of(model, parts_of(model, stage(learning_rates={"projector": 1.0}))) is None


def test_meter():
    meter = Meter(peak=1e-9)
    rates = meter.step(tokens=100, samples=5, operations=1000)
    assert rates["tokens_per_second"] == pytest.approx(20 * rates["samples_per_second"])
    assert rates["mfu"] == pytest.approx(rates["tokens_per_second"] / 100)
    assert "mfu" not in Meter(peak=None).step(100, 5, 1000)
    assert "mfu" not in Meter(peak=1.0).step(100, 5, 0)


def test_cpus_show_no_utilisation(tmp_path):
    assert peak_of(torch.device("cpu")) is None
    train(tmp_path)
    rows = read_history(tmp_path)
    assert all(row["tokens_per_second"] > row["samples_per_second"] > 0 for row in rows)
    assert not any("mfu" in row for row in rows)


def test_utilisation_where_the_peak_is_said(tmp_path):
    from gazekit.training import Machine

    train(tmp_path, machine=Machine(peak_tflops=1e-3))
    rows = read_history(tmp_path)
    batch = next(iter(DigitsData(make().processor, mosaic=MOSAIC, batch_size=2, num_steps=1, validation_size=0)
                      .train_dataloader()))  # fmt: skip
    tokens = int(batch["attention_mask"].sum())
    _, known = work(projector=1.0, context=1.0, language=1.0)
    least = tokens * known.token + 2 * known.unit
    spent = rows[0]["mfu"] * 1e9 * tokens / rows[0]["tokens_per_second"]
    assert least < spent < 2 * least
