"""What a benchmark asks: where its data is, what is shown, what is said, how long the answer may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from gazekit.evaluate.scorers import Doc

IMAGE_MARK = "<image>"
"""Stands in a prompt where an image is shown; a prompt without it comes after all images."""

MAX_NEW_TOKENS = 1024
"""Of an answer, where neither lmms-eval nor Cambrian says."""

Kind = Literal["image", "video"]


@runtime_checkable
class Rows(Protocol):
    """Docs, read as they are asked for; a list is one."""

    def __len__(self) -> int:
        """How many."""

    def __getitem__(self, index: int, /) -> Doc:
        """One of them."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a question is put, in one profile.

    Attributes:
        prompt: The text for a doc, `IMAGE_MARK` where an image stands if not in front.
        max_new_tokens: Of the answer.
        until: What ends an answer; it and all behind it are cut off.
        shown: What a doc shows in this profile; None = what the task says.
    """

    prompt: Callable[[Doc], str]
    max_new_tokens: int = MAX_NEW_TOKENS
    until: tuple[str, ...] = ()
    shown: Callable[[Doc], list[Any]] | None = None


@dataclass(frozen=True, kw_only=True)
class Join:
    """Images that lie in a table of their own.

    Attributes:
        config: Of the same data set.
        key: Column of a doc that names its image.
        on: Column of the images' table that holds the names.
    """

    config: str
    key: str
    on: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the docs are.

    Attributes:
        name: On the hub, as `owner/name`.
        split: Of the data set.
        configs: Configurations, one behind the other; None = the only one.
        only: Column and value of the rows that count; None = all do.
        join: Where images lie apart.
        form: Whether a doc's `form` is to say what configuration it is of.
    """

    name: str
    split: str
    configs: tuple[str | None, ...] = (None,)
    only: tuple[str, str] | None = None
    join: Join | None = None
    form: bool = False


@dataclass(frozen=True, kw_only=True)
class Task:
    """One benchmark, ready to be asked.

    Attributes:
        name: What `gazekit.evaluate.score` calls it: lmms-eval's name of the task, or ours where it has none.
        kind: "image" or "video".
        source: Where its docs are.
        shown: What a doc shows: its images in order, or the file name of its video below the data set's folder.
        forms: How it is asked, by profile.
        fields: Columns that a record keeps: what scoring needs.
        sample: What names a doc, from it and its place in the data.
        group: What a doc shares with others that are therefore not independent of it; "" = nothing.
        together: Neighbours that are scored as one; a limit never parts them.
    """

    name: str
    kind: Kind = "image"
    source: Source
    shown: Callable[[Doc], list[Any]]
    forms: Mapping[str, Form]
    fields: tuple[str, ...]
    sample: Callable[[Doc, int], str] = lambda doc, place: str(place)
    group: Callable[[Doc], str] = lambda doc: ""
    together: int = 1

    def kept(self, doc: Doc) -> dict[str, Any]:
        """The fields of a doc that its record keeps."""
        return {name: doc[name] for name in self.fields if name in doc}


def image(doc: Doc) -> list[Any]:
    """The image in the column of that name, if there is one."""
    return [] if doc.get("image") is None else [doc["image"]]


def marked(prompt: Callable[[Doc], str]) -> Callable[[Doc], str]:
    """A prompt in Cambrian's manner: an image, a line break, the text. A doc without an image has the text alone."""

    def put(doc: Doc) -> str:
        there = doc.get("image", doc.get("decoded_image", doc.get("image_1", True))) is not None
        return f"{IMAGE_MARK}\n{prompt(doc)}" if there else prompt(doc)

    return put


def lettered(options: Any, start: str = "A") -> str:
    """Options below each other, "A. this"."""
    return "\n".join(f"{chr(ord(start) + place)}. {text}" for place, text in enumerate(options))


def given(value: Any) -> bool:
    """Whether a table has a value: not None and not NaN."""
    return value is not None and value == value


LETTER = "Answer with the option's letter from the given choices directly."
WORD = "Answer the question using a single word or phrase."
BLANK_LINE = ("\n\n",)
"""What lmms-eval ends an answer at where a task does not say."""
