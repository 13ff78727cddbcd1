"""What a law is, and how a list of them is run on a part."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import hypothesis
from hypothesis import errors
from hypothesis import strategies as st

from gazekit.testing.strategies import calm


@dataclass(frozen=True)
class Law:
    """One sentence that must hold for every part of a room, and the cases that may refute it.

    Call it with a part to check that part alone: `laws.route.unique(TopKRouter(k=2))`.

    Attributes:
        name: By which an omission names it.
        statement: The sentence.
        check: Raises AssertionError where a part breaks it on a case.
        cases: The strategy that cases are drawn from; gets the options of the call.
    """

    name: str
    statement: str
    check: Callable[[Any, Any], None]
    cases: Callable[..., st.SearchStrategy]

    def __call__(self, part: object, **options: object) -> None:
        """Tries the law on as many cases as the active hypothesis profile says.

        Raises:
            AssertionError: The part breaks the law; the message names it and shows the smallest case found.
        """
        seen: list[object] = []

        @law_settings()
        @hypothesis.given(calm(self.cases(**options)))
        def try_one(case: object) -> None:
            seen[:] = [case]
            self.check(part, case)

        try:
            try_one()
        except errors.Unsatisfiable as nothing:
            raise AssertionError(
                f"the law '{self.name}' found no case that {_name(part)} does not refuse; "
                f"omit it with a reason: omit={{{self.name!r}: '...'}}"
            ) from nothing
        except Exception as broken:
            raise AssertionError(
                f"{_name(part)} breaks the law '{self.name}': {self.statement}\n"
                f"{type(broken).__name__}: {broken}\nsmallest case found:\n{seen[0] if seen else 'none'}"
            ) from broken


def law_settings(steps: int = 50) -> Any:
    """The active profile without deadline, health checks and the explain phase."""
    active = hypothesis.settings()
    return hypothesis.settings(
        deadline=None,
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[phase for phase in active.phases if phase != hypothesis.Phase.explain],
        stateful_step_count=steps,
    )


def law(cases: Callable[..., st.SearchStrategy]) -> Callable[[Callable[[Any, Any], None]], Law]:
    """Makes a law of a function of a part and a case: its name in words, its docstring the sentence."""

    def make(check: Callable[[Any, Any], None]) -> Law:
        name = check.__name__.replace("_", " ")
        return Law(name=name, statement=" ".join((check.__doc__ or "").split()), check=check, cases=cases)

    return make


def run(laws: Sequence[Law], part: object, omit: Mapping[str, str] | None, **options: object) -> None:
    """Runs all laws that are not omitted.

    Raises:
        ValueError: An omission names no law, or gives no reason.
        AssertionError: The part breaks a law.
    """
    omit = omit or {}
    check_omissions([law.name for law in laws], omit)
    for each in laws:
        if each.name not in omit:
            each(part, **options)


def check_omissions(names: Sequence[str], omit: Mapping[str, str]) -> None:
    """Sees to it that every omission names a law and gives a reason.

    Raises:
        ValueError: One does not.
    """
    for name, reason in omit.items():
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            raise ValueError(
                f"omit names no law: got {name!r}, nearest is {near[0]!r}; the laws are {', '.join(names)}"
            )
        if not reason.strip():
            raise ValueError(
                f"omit must say why {name!r} does not apply, got an empty reason; write a sentence"
            )


def _name(part: object) -> str:
    text = repr(part)
    return text if len(text) < 120 else type(part).__name__
