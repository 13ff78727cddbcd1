"""Every recipe of `recipes/systems` trains and generates, on a model that is smaller still than `tiny`."""

from functools import cache

import pytest
import torch
from torch import Tensor

from gazekit.models import Cambrian
from gazekit.recipe import load
from gazekit.recipe.assemble import assemble
from tests.scenes import unchecked
from tests.systems.page import fitting
from tests.systems.systems import SYSTEMS

STEPS, BATCH = 30, 2
SMALL = [
    "model.text.hidden_size=32",
    "model.text.intermediate_size=48",
    "model.text.num_hidden_layers=2",
    "model.text.num_attention_heads=2",
    "model.text.num_key_value_heads=1",
    "model.text.head_dim=16",
    "model.vision.hidden_size=16",
    "model.vision.intermediate_size=16",
    "model.vision.num_hidden_layers=1",
    "model.vision.num_attention_heads=1",
    "data.questions.turns=1",
]


def built(name: str) -> tuple[Cambrian, tuple]:
    """A system on the small model, and what tells its batches from other systems'."""
    cambrian = assemble(load(name, [*SMALL, *fitting(name)]))
    config = cambrian.model.config
    return cambrian, (config.compressor, config.num_context)


@cache
def start(compressor: str | None) -> dict[str, Tensor]:
    """Where every system starts from that has as many tokens."""
    dense = load("tiny", [*SMALL, "gaze=null", f"model.compressor={compressor or 'null'}"])
    return assemble(dense).model.state_dict()


@cache
def batches(compressor: str | None, num_context: int) -> list[dict[str, Tensor]]:
    """Fresh batches for every step, the same for all systems that see as many tokens."""
    context = {"_target_": "gazekit.context.LearnedContext", "num_tokens": num_context}
    recipe = load("tiny", [*SMALL, "gaze.route=null", f"model.compressor={compressor or 'null'}"])
    gaze = {**recipe.gaze, "context": context} if num_context else recipe.gaze
    processor = recipe.build("model").make(gaze=gaze).processor
    data = recipe.build("data", processor=processor, batch_size=BATCH, num_steps=STEPS)
    return list(data.train_dataloader())


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_trains_and_generates(name):
    cambrian, kind = built(name)
    model = cambrian.model.train()
    given = batches(*kind)
    model.load_state_dict(start(kind[0]), strict=False)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)

    def step(batch: dict[str, Tensor]) -> float:
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(loss.detach())

    losses = [step(given[0])]
    # Shapes are those of the first step, and checking them again would take most of the time.
    with unchecked():
        losses += [step(batch) for batch in given[1:]]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5]), losses
    prompt = {key: value[:2] for key, value in given[0].items() if key != "labels"}
    model.eval()
    with torch.no_grad():
        routed, dense = (model(**given[0], gaze_openness=o).logits for o in (None, 1.0))
    assert (routed - dense).abs().max() > 1e-4, "it looks at everything"
    answers = model.generate(**prompt, max_new_tokens=3, do_sample=False)
    assert answers.shape[0] == 2
