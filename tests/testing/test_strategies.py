"""What the strategies draw is valid and covers what is rare; the oracle agrees with the formula."""

from collections.abc import Callable
from dataclasses import replace

import hypothesis
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gazekit.contracts import Kind, TokenLayout, Tokens, visible
from gazekit.testing import Clip, Grid, Prompts, Runs, Scatter, Text, divide, oracle, sketch, strategies


def found(strategy: st.SearchStrategy, wanted: Callable[[object], bool]) -> object:
    quick = settings(
        max_examples=400, derandomize=True, database=None, deadline=None, phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )  # fmt: skip
    return hypothesis.find(strategy, wanted, settings=quick)


@given(strategies.attention_cases())
def test_the_oracle_agrees_with_the_formula_of_visibility(case) -> None:
    num_heads = case.query.shape[1]
    formula = visible(case.plan, case.entries.tokens, num_heads).expand(-1, num_heads, -1, -1)
    assert torch.equal(oracle.sees(case.plan, case.entries, num_heads), formula)


@given(strategies.layouts())
def test_layouts_count_orders_within_documents(layout: TokenLayout) -> None:
    tokens = layout.tokens
    for kind, document, order in zip(
        tokens.kind[:, 0], tokens.document[:, 0], tokens.order[:, 0], strict=True
    ):
        assert ((kind == Kind.PAD) == (document < 0)).all()
        for number in document[document >= 0].unique():
            inside = order[document == number]
            assert inside.max() == len(inside) - 1
            assert (inside.diff() >= 0)[kind[document == number][1:] != Kind.VISUAL].all()


@given(strategies.tokens())
def test_tokens_of_documents_share_no_region(tokens: Tokens) -> None:
    for owner, document in zip(tokens.owner[:, 0], tokens.document[:, 0], strict=True):
        for region in owner[owner >= 0].unique():
            assert len(document[owner == region].unique()) == 1


@given(st.data())
def test_rows_and_selections_are_valid(data: st.DataObject) -> None:
    case = data.draw(strategies.routing_cases())
    view = case.view
    selection = data.draw(strategies.selections(view.complete, view.num_heads, view.num_kv_heads))
    assert not (selection.chosen(view.regions.count) & ~view.complete[:, None]).any()
    row = torch.arange(view.rows.count).expand_as(view.rows.query)
    of_first_query = view.rows.of.gather(1, view.rows.query.clamp_min(0))
    assert torch.equal(of_first_query[view.rows.valid], row[view.rows.valid])


@given(strategies.scores((2, 3, 4, 5)))
def test_distinct_scores_are_distinct(scores: torch.Tensor) -> None:
    assert len(scores.flatten().unique()) == scores.numel()


RARE = {
    "a video with text between its frames": lambda p: any(
        isinstance(x, Clip) and x.frames > 1 and x.stamp for s in p.samples for d in s for x in d
    ),
    "packed documents": lambda p: any(len(s) > 1 for s in p.samples),
    "a ragged batch": lambda p: len({sum(len(d) for d in s) for s in p.samples}) > 1,
    "padding on the right": lambda p: not p.pad_left and len(p.samples) > 1,
    "no visual token": lambda p: not any(isinstance(x, Clip) for s in p.samples for d in s for x in d),
    "images whose tokens see each other": lambda p: p.bidirectional,
    "different grids in one sample": lambda p: any(
        len({(x.rows, x.columns) for d in s for x in d if isinstance(x, Clip)}) > 1 for s in p.samples
    ),
}


@pytest.mark.parametrize("what", RARE)
def test_prompts_cover(what: str) -> None:
    assert RARE[what](found(strategies.prompts(), RARE[what]))


REACHED = {
    "entries that differ per head": lambda c: c.entries.tokens.kind.shape[1] > 1,
    "a row of several queries": lambda c: bool((c.plan.rows.of[:, 1:] == c.plan.rows.of[:, :-1])[
        c.plan.rows.of[:, 1:] >= 0
    ].any()),
    "a choice shared by a group": lambda c: c.plan.selection is not None
    and 1 < c.plan.selection.index.shape[1] < c.query.shape[1],
    "a rule that keeps": lambda c: c.plan.keeps is not None,
    "images confined to their unit": lambda c: Kind.VISUAL in c.plan.confined,
    "regions side by side": lambda c: c.entries.begin is not None,
    "generated text": lambda c: c.plan.regions.owner.shape[1] <= int(c.entries.position.max()),
}  # fmt: skip


@pytest.mark.parametrize("what", REACHED)
def test_attention_cases_cover(what: str) -> None:
    assert REACHED[what](found(strategies.attention_cases(), REACHED[what]))


def test_prompts_become_the_layout_that_they_describe() -> None:
    video = Clip(rows=1, columns=2, frames=2, stamp=1, context=1)
    prompts = Prompts(samples=(((Text(1), video), (Text(2),)), ((Clip(rows=2, columns=1),),)), pad_left=True)
    layout = prompts.layout()
    assert sketch(layout).split("\n") == ["tvvctvvc|tt", "........vv"]
    assert layout.place[0, 5].tolist() == [1, 0, 0]
    assert layout.tokens.unit[0, 0].tolist() == [-1, 0, 0, 0, -1, 1, 1, 1, -1, -1]
    assert layout.tokens.order[0, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1]
    assert layout.clip[1, -2:].tolist() == [0, 0]


def test_tokens_of_a_bidirectional_image_share_their_order() -> None:
    layout = Prompts(samples=(((Text(1), Clip(rows=1, columns=3), Text(1)),),), bidirectional=True).layout()
    assert layout.tokens.order[0, 0].tolist() == [0, 3, 3, 3, 4]


def test_divisions_divide_as_they_say() -> None:
    layout = Prompts(samples=(((Clip(rows=2, columns=3), Text(2)),),)).layout()
    assert sketch(layout, divide(layout, Grid(size=(1, 2, 2)))) == "AABAABtt"
    assert sketch(layout, divide(layout, Runs(length=3))) == "AAABBBCC"
    scattered = divide(layout, Scatter(count=2, seed=1)).owner[0]
    assert set(scattered[:6].tolist()) <= {0, 1}
    assert scattered[6:].tolist() == [-1, -1]


def test_the_oracle_gives_zeros_where_there_is_nothing_to_see() -> None:
    case = found(strategies.attention_cases(), lambda case: case.query.shape[2] == 1)
    nothing = replace(
        case.entries,
        key=case.entries.key[:, :, :0],
        value=case.entries.value[:, :, :0],
        tokens=case.entries.tokens.narrow(0, 0),
        position=case.entries.position[..., :0],
        begin=None,
        count=None,
        free=None,
    )
    assert (oracle.attend(case.query, nothing, case.plan) == 0).all()
