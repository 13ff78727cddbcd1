"""A self-contained HTML page: tables, pictures, and a word-by-word view of where the model looked."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from gazekit.view.examples import Example


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: Its title.
        columns: Headings.
        rows: Cells, already formatted; the first of each row is its name.
        note: A sentence under it.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A PNG with its caption."""

    path: Path
    caption: str


def write_page(
    path: Path,
    *,
    title: str,
    lead: str,
    tables: Sequence[Table],
    pictures: Sequence[Picture],
    examples: Sequence[Example],
    head: tuple[int, int] = (0, 0),
) -> None:
    """Writes one HTML file that needs nothing else, no network either.

    Args:
        path: File to write.
        title: Title.
        lead: A paragraph of plain text under it.
        tables: Tables, in order.
        pictures: PNGs to embed.
        examples: Answers to look into word by word.
        head: Layer and head that the viewer shows first.
    """
    template = resources.files("gazekit.view").joinpath("page.html").read_text("utf-8")
    data = json.dumps({"examples": [_example(one) for one in examples], "head": list(head)}).replace(
        "<", "\\u003c"
    )
    filled = {
        "title": html.escape(title),
        "lead": html.escape(lead),
        "tables": "\n".join(_table(one) for one in tables),
        "pictures": "\n".join(_picture(one) for one in pictures),
        "data": data,
    }
    page = re.sub(r"\{\{(\w+)\}\}", lambda mark: filled[mark.group(1)], template)
    path.write_text(page, encoding="utf-8")


def _example(example: Example) -> dict[str, object]:
    """What the viewer's script reads of an example."""
    buffer = io.BytesIO()
    example.image.convert("RGB").save(buffer, format="PNG")
    return {
        "image": _data_uri(buffer.getvalue()),
        "question": example.question,
        "expected": list(example.expected),
        "said": list(example.said),
        "grid": list(example.grid),
        "box": example.box[:, 1:].tolist(),
        "glances": example.glances.tolist(),
    }


def _table(table: Table) -> str:
    head = "".join(f"<th>{html.escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in table.rows
    )
    note = f"<p class=note>{html.escape(table.note)}</p>" if table.note else ""
    title = f"<h2>{html.escape(table.title)}</h2>"
    return f"{title}<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}"


def _picture(picture: Picture) -> str:
    caption = html.escape(picture.caption)
    uri = _data_uri(picture.path.read_bytes())
    return f'<figure><img src="{uri}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
