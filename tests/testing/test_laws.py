"""How laws are called, what they say of a part that breaks one, and what an omission must look like."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from hypothesis import settings
from hypothesis import strategies as st
from jaxtyping import Float
from torch import Tensor

from gazekit.attend import ReferenceBackend
from gazekit.contracts import Selection, Sizes, View
from gazekit.pool import MeanPooler
from gazekit.route import TopKRouter
from gazekit.schedule import ConstantSchedule
from gazekit.testing import laws


@pytest.fixture
def reproducible() -> Iterator[None]:
    before = settings.get_current_profile_name()
    settings.register_profile("reproducible", max_examples=60, derandomize=True, database=None)
    settings.load_profile("reproducible")
    yield
    settings.load_profile(before)


@pytest.fixture
def glance() -> Iterator[None]:
    before = settings.get_current_profile_name()
    settings.register_profile("few", max_examples=5, derandomize=True, database=None)
    settings.load_profile("few")
    yield
    settings.load_profile(before)


@dataclass(frozen=True)
class RepeatRouter:
    """Names its first region twice."""

    k: int = 2

    def __call__(self, scores: Float[Tensor, "batch head row region"], view: View) -> Selection | None:
        selection = TopKRouter(k=self.k)(scores, view)
        if selection is None:
            return None
        return Selection(index=torch.cat([selection.index[..., :1], selection.index], dim=-1))


def test_a_counterexample_is_small_and_readable(reproducible: None) -> None:
    with pytest.raises(AssertionError) as caught:
        laws.route.unique(RepeatRouter())
    message = str(caught.value)
    assert message.startswith("RepeatRouter(k=2) breaks the law 'unique': No region stands twice")
    assert "a row selects [0, 0" in message
    drawing = message.split("layout (regions in capitals):\n")[1].split("\nopenness")[0]
    assert set(drawing) <= set("tvcABCDEFGH.|\n")
    assert len(drawing) <= 6


def test_a_law_can_be_tried_alone_and_knows_its_sentence() -> None:
    laws.route.ascending(TopKRouter(k=1))
    assert laws.route.ascending.statement == "A row's regions ascend, and -1 stands after them."


def test_sizes_reach_the_cases(glance: None) -> None:
    seen: list[tuple[int, int]] = []

    class Watching:
        def __call__(self, scores: Tensor, view: View) -> None:
            seen.append((view.num_heads, view.num_kv_heads))

    sizes = Sizes(num_layers=1, num_heads=6, num_kv_heads=2, head_dim=2, hidden_dim=12)
    laws.route.same_answer_twice(Watching(), sizes=sizes)
    assert set(seen) == {(6, 2)}
    laws.check_pooler(MeanPooler(), sizes=sizes)


def test_options_of_a_backend_reach_the_cases(glance: None) -> None:
    seen = set()

    class Watching:
        def refuses(self, entries, plan) -> None:
            return None

        def attend(self, query, entries, plan) -> Tensor:
            seen.add((query.dtype, query.shape[3], query.shape[2]))
            return ReferenceBackend().attend(query, entries, plan)

    laws.attend.equals_the_rules(Watching(), dtype=torch.bfloat16, dims=(4,), decoding=True)
    assert seen == {(torch.bfloat16, 4, 1)}


def test_a_backend_that_refuses_everything_shows_nothing(glance: None) -> None:
    class Shy:
        """Does no plan."""

        def refuses(self, entries, plan) -> str:
            return "never"

        def attend(self, query, entries, plan) -> Tensor:
            return query

    with pytest.raises(
        AssertionError, match="'equals the rules' could not be tried on Shy: it refuses, since never"
    ):
        laws.attend.equals_the_rules(Shy())


def test_an_exception_of_the_part_is_a_breach_of_the_law(reproducible: None) -> None:
    def fails(progress: float, depth: float = 0.0) -> float:
        raise RuntimeError("out of steps")

    with pytest.raises(AssertionError, match=r"(?s)the law 'within bounds'.*RuntimeError: out of steps"):
        laws.check_schedule(fails)


def test_an_omitted_law_is_not_tried() -> None:
    omit = {"starts dense": "it never opens", "ends at the target": "it stands at 0.3"}
    laws.check_schedule(ConstantSchedule(openness=0.3), omit=omit)
    with pytest.raises(AssertionError, match="breaks the law 'starts dense'"):
        laws.check_schedule(ConstantSchedule(openness=0.3))


def test_an_omission_must_name_a_law() -> None:
    with pytest.raises(ValueError, match="got 'start dense', nearest is 'starts dense'; the laws are within"):
        laws.check_schedule(ConstantSchedule(), omit={"start dense": "it never opens"})
    with pytest.raises(ValueError, match="got 'evict', nearest is"):
        laws.check_store(list, omit={"evict": "it never does"})


def test_an_omission_must_give_a_reason() -> None:
    with pytest.raises(ValueError, match="must say why 'unique' does not apply, got an empty reason"):
        laws.check_router(TopKRouter(k=2), omit={"unique": " "})


def test_a_router_without_k_is_told_to_omit_the_law_of_k(glance: None) -> None:
    with pytest.raises(
        AssertionError, match=r"could not be tried on .*: it is no dataclass with a k; if it does"
    ):
        laws.route.larger_k_contains_smaller_k(lambda scores, view: None)


def test_the_active_profile_says_how_many_cases_are_tried(reproducible: None) -> None:
    tried: list[float] = []

    def counting(progress: float, depth: float = 0.0) -> float:
        tried.append(progress)
        return 0.0

    law = laws.schedule.within_bounds
    laws.Law(law.name, law.statement, lambda part, case: part(case), lambda: st.floats(0, 1))(counting)
    assert len(tried) == 60
