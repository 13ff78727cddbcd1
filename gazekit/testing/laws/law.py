"""What a law is, and how a list of them is run on a part."""

import contextlib
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis import errors
from hypothesis import strategies as st

from gazekit.testing.draw import calm


class Refused(Exception):
    """Raised by a law's check where the part refuses the case, with its reason: the case shows nothing."""


class _Silent(AssertionError):
    """A law found no case to be tried on."""


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
        _try([self], part, self.cases(**options))


def law(cases: Callable[..., st.SearchStrategy]) -> Callable[[Callable[[Any, Any], None]], Law]:
    """Makes a law of a function of a part and a case: its name in words, its docstring the sentence."""

    def make(check: Callable[[Any, Any], None]) -> Law:
        name = check.__name__.replace("_", " ")
        return Law(name=name, statement=" ".join((check.__doc__ or "").split()), check=check, cases=cases)

    return make


def run(laws: Sequence[Law], part: object, omit: Mapping[str, str] | None, **options: object) -> None:
    """Runs all laws that are not omitted; those that are tried on the same kind of case share the cases.

    Raises:
        ValueError: An omission names no law, or gives no reason.
        AssertionError: The part breaks a law.
    """
    omit = omit or {}
    check_omissions([each.name for each in laws], omit)
    groups: dict[Callable[..., st.SearchStrategy], list[Law]] = {}
    for each in laws:
        if each.name not in omit:
            groups.setdefault(each.cases, []).append(each)
    for cases, group in groups.items():
        _try(group, part, cases(**options))


@dataclass
class _Trial:
    """A run of laws on a part: what is being tried, which laws got an answer, and why others got none."""

    part: object
    law: Law
    case: object = None
    answered: set[str] = field(default_factory=set)
    refusal: str = "no case was found"

    def try_all(self, laws: Sequence[Law], case: object) -> None:
        """Tries the laws on one case; one that most of them find refused is no case."""
        refused = 0
        for self.law in laws:
            self.case = case
            try:
                self.law.check(self.part, case)
                self.answered.add(self.law.name)
            except Refused as reason:
                refused, self.refusal = refused + 1, str(reason)
        hypothesis.assume(2 * refused <= len(laws))

    def breach(self, error: BaseException) -> AssertionError:
        """Says which law is broken, and on what."""
        return AssertionError(
            f"{_name(self.part)} breaks the law '{self.law.name}': {self.law.statement}\n"
            f"{type(error).__name__}: {error}\nsmallest case found:\n{self.case}"
        )

    def silence(self, each: Law) -> AssertionError:
        """Says which law no case could be tried on."""
        return _Silent(
            f"the law '{each.name}' could not be tried on {_name(self.part)}: {self.refusal}; "
            f"if it does not apply, omit it with a reason: omit={{{each.name!r}: '...'}}"
        )


def _try(laws: Sequence[Law], part: object, cases: st.SearchStrategy) -> None:
    trial = _Trial(part, laws[0])

    @law_settings()
    @hypothesis.given(calm(cases))
    def try_one(case: object) -> None:
        trial.try_all(laws, case)

    try:
        try_one()
    except errors.Unsatisfiable as nothing:
        raise trial.silence(laws[-1]) from nothing
    except Exception as broken:
        # One law at a time from here on, so that the first one broken is named, with a smallest case of its own.
        for each in laws if len(laws) > 1 else ():
            _try_alone(each, part, cases)
        raise trial.breach(broken) from broken
    for each in laws:
        if each.name not in trial.answered:
            raise trial.silence(each)


def _try_alone(each: Law, part: object, cases: st.SearchStrategy) -> None:
    """Tries one law; that no case could be tried is not what is looked for."""
    with contextlib.suppress(_Silent):
        _try([each], part, cases)


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
    told = type(part).__repr__ is not object.__repr__ and len(repr(part)) < 120
    return repr(part) if told else type(part).__name__
