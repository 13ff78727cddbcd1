"""A part that has been read but not built: what to call, and with what."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gazekit.contracts.section.faults import Fault, SectionError

_NOTHING: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True)
class Call:
    """One call to come, its arguments read and converted.

    Attributes:
        make: The class or function.
        arguments: By name; calls to come among them.
        path: Where it is written.
        offers: Arguments that were not written but that the part would take from the program.
    """

    make: Callable[..., object]
    arguments: Mapping[str, object]
    path: str
    offers: tuple[str, ...] = ()

    def build(self, offered: Mapping[str, object] = _NOTHING) -> object:
        """Builds the arguments, then the part.

        Args:
            offered: What the program has for this part; it takes what it has arguments for and was not given.

        Raises:
            SectionError: The part refuses a value, or lacks one; the path is named.
        """
        taken = {name: value for name, value in offered.items() if name in self.offers}
        arguments = {name: construct(value, offered) for name, value in self.arguments.items()} | taken
        try:
            return self.make(**arguments)
        except SectionError:
            raise
        except (TypeError, ValueError) as error:
            raise SectionError([self._fault(error)]) from error

    def refusals(self) -> list[Fault]:
        """What the values break of the part's own rules, found by trying; empty where the part is not cheap.

        Cheap is a frozen dataclass, which holds its arguments and nothing else, and a part with weights that
        gets them from `bind(sizes)`. After a refusal that names an argument with a default, that argument is
        left out and the rest tried again, so that one broken rule does not hide the next.
        """
        faults: list[Fault] = []
        arguments = dict(self.arguments)
        while _is_cheap(self):
            try:
                dataclasses.replace(self, arguments=arguments).build()
                break
            except SectionError as error:
                fault = error.faults[0]
            faults.append(fault)
            key = fault.path.removeprefix(f"{self.path}.") if self.path else fault.path
            if inspect.signature(self.make).parameters.get(key, _REQUIRED).default is inspect.Parameter.empty:
                break
            del arguments[key]
        return faults

    def _fault(self, error: Exception) -> Fault:
        """A refusal begins with the argument that it is about; its path is then that argument's."""
        named = re.match(r"[`'\"]?(\w+)", str(error))
        first = named[1] if named else ""
        path = ".".join(filter(None, [self.path, first if first in self.arguments else ""]))
        return Fault(path, str(error))


_REQUIRED = inspect.Parameter("none", inspect.Parameter.KEYWORD_ONLY)


def _is_cheap(value: object) -> bool:
    """Whether building it is no more than keeping its arguments."""
    if isinstance(value, Call):
        params = getattr(value.make, "__dataclass_params__", None)
        frozen = params is not None and params.frozen
        return (frozen or hasattr(value.make, "bind")) and all(map(_is_cheap, value.arguments.values()))
    if isinstance(value, Mapping):
        return all(map(_is_cheap, value.values()))
    return not isinstance(value, (list, tuple, frozenset)) or all(map(_is_cheap, value))


def construct(value: object, offered: Mapping[str, object] = _NOTHING) -> object:
    """Carries out every call inside a value that was read."""
    if isinstance(value, Call):
        return value.build(offered)
    if isinstance(value, Mapping):
        return {key: construct(inner, offered) for key, inner in value.items()}
    if isinstance(value, (list, tuple, frozenset)):
        return type(value)(construct(inner, offered) for inner in value)
    return value
