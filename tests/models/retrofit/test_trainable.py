"""The parts of other models: each trained alone, adapters, rows of context tokens."""

import sys

import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn

from gazekit import Gaze, GridPartition, LearnedContext, TopKRouter, apply_gaze
from gazekit.models.retrofit import ContextRows, Conversations, Lora, TrainableRetrofit, context_rows
from gazekit.training import CambrianModule, Stage
from gazekit.training.groups import parts_of
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.qwen_small import make_qwen
from tests.models.retrofit.stock import picture
from tests.models.retrofit.test_conversations import asked

GAZE = Gaze(
    partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1), context=LearnedContext(num_tokens=2)
)


def retrofitted(*, lora: Lora | None = None, **given):
    """A trainable model and a batch of two conversations."""
    model, processor = make_qwen(**given)
    torch.manual_seed(1)
    model = apply_gaze(model, GAZE, processor)
    talk = Conversations(processor)
    samples = [talk.encode_conversation(asked("one", "two")[: 2 * n], [picture(n)]) for n in (1, 2)]
    return TrainableRetrofit(model, lora), talk.collate(samples)


def stage(**rates: float) -> Stage:
    return Stage(name="some", steps=1, batch_size=2, learning_rates=rates)


def step(trainable: TrainableRetrofit, batch, chosen: Stage, rate: float = 0.1) -> None:
    """One step of gradient descent on what a stage trains."""
    module = CambrianModule(trainable, chosen, verbose=False)
    module.train()
    trainable(**batch).loss.backward()
    with torch.no_grad():
        for parameter in trainable.parameters():
            if parameter.grad is not None:
                parameter -= rate * parameter.grad


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(
    ("part", "where"),
    [
        ("context", ()),
        ("projector", ("model.visual.merger",)),
        ("tower", ("model.visual.blocks", "model.visual.patch_embed")),
        ("language", ("model.language_model", "lm_head")),
    ],
)
def test_a_part_is_trained_alone(part, where, tied):
    trainable, batch = retrofitted(tied=tied)
    before = {name: weight.clone() for name, weight in trainable.model.state_dict().items()}
    rows = context_rows(trainable.model)
    step(trainable, batch, stage(**{part: 1e-2}))
    model = trainable.fold()
    ids = model.config.gaze_context_ids
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    if part == "context":
        assert not torch.equal(context_rows(model), rows)
        assert changed == {"model.language_model.embed_tokens.weight", *(["lm_head.weight"] if tied else [])}
        others = torch.ones(len(before["lm_head.weight"]), dtype=torch.bool)
        others[ids] = False
        for name in changed:
            assert torch.equal(model.state_dict()[name][others], before[name][others])
    else:
        assert changed
        assert all(name.startswith(where) for name in changed)
        assert torch.equal(context_rows(model), rows)


def test_every_parameter_is_in_one_part():
    trainable, _ = retrofitted(lora=Lora(rank=2))
    parts = parts_of(trainable, stage(context=1e-2))
    sizes = {part.name: part.size for part in parts}
    assert set(sizes) == {"language", "tower", "projector", "lora", "context"}
    everything = set(trainable.model.parameters()) | set(trainable.context.parameters())
    assert sum(sizes.values()) == sum(p.numel() for p in everything)
    assert sizes["context"] == 2 * 32
    assert sizes["lora"] == 2 * 2 * (32 + 32 + 32 + 16)


@pytest.mark.parametrize("name", CASES)
def test_every_architecture_has_its_parts(name):
    model = CASES[name].build()
    found = parts_of(TrainableRetrofit(model), stage(projector=1e-2))
    assert [part.name for part in found] == ["language", "tower", "projector"]
    assert all(part.size > 0 for part in found)
    assert sum(part.size for part in found) == sum(p.numel() for p in model.parameters())


def test_rows_stand_in_for_the_embedding_and_go_back():
    embedding = nn.Embedding(6, 3)
    rows = ContextRows(embedding, [4, 1])
    ids = torch.tensor([[0, 1, 4, 5]])
    before = embedding(ids).detach()
    with torch.no_grad():
        rows.weight += torch.tensor([[1.0], [2.0]])
    assert torch.equal(
        embedding(ids)[0] - before[0] > 0.5, torch.tensor([[False], [True], [True], [False]]).expand(4, 3)
    )
    standing = embedding(ids).detach()
    embedding.weight.requires_grad_(False)
    embedding(ids).sum().backward()
    assert rows.weight.grad.tolist() == [[1, 1, 1], [1, 1, 1]]
    rows.fold()
    assert torch.equal(embedding(ids), standing)
    assert not embedding._forward_hooks


def test_rows_of_an_embedding_that_scales():
    class Scaled(nn.Embedding):
        embed_scale = torch.tensor(3.0)

        def forward(self, ids):
            return super().forward(ids) * self.embed_scale

    embedding = Scaled(4, 2)
    before = embedding(torch.arange(4)).detach()
    rows = ContextRows(embedding, [2])
    torch.testing.assert_close(embedding(torch.arange(4)), before)
    rows.fold()
    torch.testing.assert_close(embedding(torch.arange(4)), before)


def test_the_loss_is_that_of_the_model_without_the_context_tokens():
    trainable, batch = retrofitted()
    logits = trainable.model(**{name: value for name, value in batch.items() if name != "labels"}).logits
    logits[..., trainable.config.gaze_context_ids] = float("-inf")
    wanted = batch["labels"][:, 1:]
    each = nn.functional.cross_entropy(
        logits[:, :-1].transpose(1, 2), wanted, reduction="none", ignore_index=-100
    )
    torch.testing.assert_close(trainable(**batch).loss, each.sum() / (wanted != -100).sum())
    torch.testing.assert_close(trainable(**batch, num_items_in_batch=7).loss, each.sum() / 7)


def test_openness_reaches_the_model():
    trainable, batch = retrofitted()
    dense, sparse = (trainable(**batch, gaze_openness=openness).loss for openness in (1.0, 0.0))
    assert not torch.equal(dense, sparse)


def test_checkpointing_recomputes_frozen_layers_and_changes_nothing():
    grads = []
    for wanted in (False, True):
        trainable, batch = retrofitted()
        chosen = Stage(
            name="c", steps=1, batch_size=2, learning_rates={"context": 1e-2}, gradient_checkpointing=wanted
        )
        calls = []
        trainable.language_model.layers[0].mlp.register_forward_pre_hook(
            lambda *_, seen=calls: seen.append(1)
        )
        module = CambrianModule(trainable, chosen, verbose=False)
        module.trainer = Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
        module.on_fit_start()
        module.train()
        assert trainable.is_gradient_checkpointing == wanted
        assert not trainable.language_model.layers[0].mlp.training
        trainable(**batch).loss.backward()
        assert len(calls) == 1 + wanted
        grads.append(trainable.context.weight.grad)
    torch.testing.assert_close(grads[0], grads[1])
    trainable.gradient_checkpointing_disable()
    assert not trainable.is_gradient_checkpointing


def test_adapters_change_nothing_at_first_and_are_merged():
    pytest.importorskip("peft")
    plain, batch = retrofitted()
    with_lora, _ = retrofitted(lora=Lora(rank=2))
    names = plain.model.state_dict().keys()
    assert torch.equal(plain(**batch).loss, with_lora(**batch).loss)
    for _ in range(2):
        step(with_lora, batch, stage(lora=1e-2), rate=1.0)
        with_lora.zero_grad()
    trained = with_lora(**batch).loss
    assert trained < plain(**batch).loss
    model = with_lora.fold()
    assert model.state_dict().keys() == names
    torch.testing.assert_close(TrainableRetrofit(model)(**batch).loss, trained)


def test_what_is_trained_of_a_half_precision_model_is_not():
    pytest.importorskip("peft")
    model, processor = make_qwen()
    model = apply_gaze(model.to(torch.bfloat16), GAZE, processor)
    trainable = TrainableRetrofit(model, Lora(rank=2))
    talk = Conversations(processor)
    trainable(**talk.collate([talk.encode_conversation(asked("one"), [picture()])])).loss.backward()
    for part in (trainable.context, trainable.lora):
        assert {parameter.dtype for parameter in part.parameters()} == {torch.float32}
        assert all(parameter.grad is not None for parameter in part.parameters())
    assert {parameter.dtype for parameter in trainable.fold().parameters()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rank": 0}, "rank must be at least 1, got 0"),
        ({"targets": ()}, "targets must name linear layers of the decoder, got none"),
    ],
)
def test_wrong_adapters(given, message):
    with pytest.raises(ValueError, match=message):
        Lora(**given)


def test_adapters_of_layers_that_are_not_there():
    pytest.importorskip("peft")
    with pytest.raises(ValueError, match="which has no qkv; it has down_proj, gate_proj, k_proj"):
        retrofitted(lora=Lora(targets=("qkv",)))


def test_without_peft_it_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ImportError, match=r"lora needs peft; install it with: pip install 'gazekit\[lora\]'"):
        retrofitted(lora=Lora())
