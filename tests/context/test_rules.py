import pytest
import torch

from gazekit.context import LearnedContext, SinkContext, UnionContext, WindowContext
from gazekit.contracts import Context
from gazekit.gaze import Gaze
from gazekit.partition import RunPartition
from gazekit.route import AlwaysRouter
from tests.gaze.tiny import Runner, decoder, prompt, sample
from tests.gaze.tiny import layout as tiny_layout
from tests.scenes import layout, unchecked


def kept(context, text="t5"):
    tokens = layout(text).tokens
    return context.keeps(tokens, tokens)[0, 0].int().tolist()


def test_sinks_are_the_first_tokens_for_every_query():
    assert kept(SinkContext(num=2), "t3 / t2") == [[1, 1, 0, 1, 1]] * 5


def test_a_window_is_the_last_tokens_before_the_query():
    rows = kept(WindowContext(size=2), "t4")
    past = [row[: q + 1] for q, row in enumerate(rows)]
    assert past == [[1], [1, 1], [0, 1, 1], [0, 0, 1, 1]]


def test_a_union_keeps_what_one_part_keeps_and_adds_learned_tokens():
    parts = (LearnedContext(num_tokens=3), SinkContext(num=1), WindowContext(size=1))
    union = UnionContext(parts=parts)
    assert union.num_tokens == 3
    assert kept(union, "t3")[2] == [1, 0, 1]
    tokens = layout("t2").tokens
    assert UnionContext(parts=[LearnedContext()]).keeps(tokens, tokens) is None
    assert UnionContext(parts=list(parts)) == union


@torch.no_grad()
def test_a_window_beside_nothing_else_is_sliding_window_attention():
    lay = tiny_layout(sample(14))
    embeddings, model = prompt(lay), decoder("qwen3")
    place = torch.arange(14)
    near = (place[:, None] - place < 5) & (place[:, None] >= place) | (place == 0)
    dense = model(inputs_embeds=embeddings, attention_mask=near[None, None]).logits
    context = UnionContext(parts=(WindowContext(size=5), SinkContext(num=1)))
    gaze = Gaze(partition=RunPartition(length=1), pool=None, route=AlwaysRouter(), context=context)
    torch.testing.assert_close(Runner(model, gaze).forward(lay, embeddings), dense, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SinkContext(num=0), r"num must be at least 1 token, got 0; use Gaze\(context=None\)"),
        (lambda: WindowContext(size=0), r"size must be at least 1 token, got 0; use Gaze\(context=None\)"),
        (lambda: UnionContext(parts=()), "parts must be at least one context, got none"),
    ],
)
def test_refuses_what_keeps_nothing(make, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        make()


def test_they_are_contexts():
    for context in (SinkContext(), WindowContext(), UnionContext(parts=(SinkContext(),))):
        assert isinstance(context, Context)
