"""A backend is chosen once a forward for what layers have in common, and again for what they have not."""

import sys

import pytest
import torch

from gazekit.attend import GatherBackend, MaskedBackend
from gazekit.gaze import Gaze, begin_pass, prepare_cache
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from tests.gaze.tiny import Image, Runner, decoder, layout, prompt, sample

LAYOUT = layout(sample(2, Image(5, 7), 3, Image(4, 4), 2))
GRID = GridPartition(size=(1, 2, 3))


def decoded(runner: Runner, learned: str) -> torch.Tensor:
    """The gradient of one weight through a decoding step, all others being frozen."""
    model = runner.model.requires_grad_(False)
    cache = prepare_cache(None, model.config)
    runner.forward(LAYOUT, prompt(LAYOUT), cache=cache)
    weight = model.get_parameter(learned).requires_grad_()
    token = model.get_input_embeddings()(torch.tensor([[7]]))
    logits = runner.forward(LAYOUT, token, start=LAYOUT.length, cache=cache)
    return torch.autograd.grad(logits.square().sum(), weight)[0]


@pytest.mark.parametrize("layer", [0, 1])
@pytest.mark.parametrize("projection", ["q_proj", "k_proj"])
def test_no_gradient_is_lost_where_most_is_frozen(layer, projection, native_kernel):
    """Frozen layers may take the native kernel, which has no backward; those above may not."""
    learned = f"model.layers.{layer}.self_attn.{projection}.weight"
    found, expected = (
        decoded(Runner(decoder("qwen3"), Gaze(partition=GRID, route=TopKRouter(k=1), backend=name)), learned)
        for name in ("auto", "reference")
    )
    assert expected.any()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


@torch.no_grad()
def test_layers_in_which_other_heads_choose_are_asked_about_apart(monkeypatch):
    """A backend for heads that choose together is no answer for a layer where each chooses for itself."""

    class Together(GatherBackend):
        def refuses(self, entries, plan):
            if plan.selection is not None and plan.selection.index.shape[1] > entries.key.shape[1]:
                return "heads choose apart"
            return super().refuses(entries, plan)

    monkeypatch.setitem(sys.modules["gazekit.attend.choose"]._BACKENDS, "gather", Together())
    runner = Runner(
        decoder("qwen3"),
        [Gaze(partition=GRID, route=TopKRouter(k=1, share=share)) for share in ("group", "head")],
    )
    cache = prepare_cache(None, runner.model.config)
    runner.forward(LAYOUT, prompt(LAYOUT), cache=cache)
    step = begin_pass(runner.model, LAYOUT, LAYOUT.length, LAYOUT.length + 1, past_key_values=cache)
    runner.model(
        inputs_embeds=runner.model.get_input_embeddings()(torch.tensor([[7]])),
        attention_mask=torch.ones(1, LAYOUT.length + 1, dtype=torch.long),
        position_ids=torch.tensor([[LAYOUT.length]]),
        past_key_values=cache,
        use_cache=True,
        gaze_pass=step,
    )
    kinds = {type(backend) for backend in step.backends.values()}
    assert kinds == {Together, MaskedBackend}
