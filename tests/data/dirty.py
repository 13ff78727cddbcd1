"""Data sets on disk, whole and dirty."""

import json
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def turns(ask="<image>\nwhat is this?", reply="a lamp"):
    return [{"from": "human", "value": ask}, {"from": "gpt", "value": reply}]


def write_rows(path: Path, rows) -> Path:
    path.write_bytes(
        b"".join(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n" for line in rows)
    )
    return path


def write_image(path: Path, seed=0, size=(24, 16), **how) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path, **how)
    return path


def bomb(side=60_000) -> bytes:
    """A PNG whose header promises more pixels than memory holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


def good_rows(root: Path, count: int, source="good"):
    for number in range(count):
        write_image(root / f"{source}/{number}.jpg", seed=number)
    return [
        {
            "id": number,
            "image": f"{source}/{number}.jpg",
            "data_source": source,
            "conversations": turns(f"<image>\nq{number}?"),
        }
        for number in range(count)
    ]


def dirty_rows(root: Path) -> dict[str, tuple[object, str]]:
    """Rows that cannot be used, by what is wrong with them, each with the kind of its fault."""
    whole = write_image(root / "bad/whole.jpg", size=(64, 64)).read_bytes()
    (root / "bad/cut.jpg").write_bytes(whole[: len(whole) // 2])
    (root / "bad/zero.jpg").write_bytes(b"")
    (root / "bad/bomb.png").write_bytes(bomb())
    (root / "bad/text.jpg").write_text("no image at all")
    (root / "bad/frames").mkdir()
    (root / "bad/film.mp4").write_bytes(b"\0" * 64)
    outside = write_image(root.parent / "outside/secret.jpg")
    (root / "bad/link.jpg").symlink_to(outside)
    (root / "bad/folder").symlink_to(outside.parent)
    os.mkfifo(root / "bad/pipe.jpg")

    def image(name, **more):
        return {"id": name, "data_source": "bad", "image": name, "conversations": turns(), **more}

    video = {"id": "v", "data_source": "bad", "conversations": turns("<video>\nwhat happens?")}
    half = json.dumps(image("bad/whole.jpg")).encode()
    return {
        "truncated jpeg": (image("bad/cut.jpg"), "broken"),
        "zero bytes": (image("bad/zero.jpg"), "empty"),
        "bomb": (image("bad/bomb.png"), "bomb"),
        "no image": (image("bad/text.jpg"), "broken"),
        "folder for an image": (image("bad/frames"), "broken"),
        "pipe": (image("bad/pipe.jpg"), "broken"),
        "missing": (image("bad/nowhere.jpg"), "missing"),
        "other case": (image("bad/WHOLE.jpg"), "missing"),
        "absolute": (image(str(outside)), "outside"),
        "dots": (image("bad/../../outside/secret.jpg"), "outside"),
        "dots inside": (image("bad/../bad/whole.jpg"), "outside"),
        "link": (image("bad/link.jpg"), "outside"),
        "link to a folder": (image("bad/folder/secret.jpg"), "outside"),
        "address": (image("https://example.org/a.jpg"), "outside"),
        "nul": (image("bad/wh\0ole.jpg"), "outside"),
        "missing video": ({**video, "video": "bad/nowhere.mp4"}, "missing"),
        "video outside": ({**video, "video": "../outside/secret.jpg"}, "outside"),
        "video without frames": ({**video, "video": "bad/frames"}, "frames"),
        "video file": ({**video, "video": "bad/film.mp4"}, "broken"),
        "cut in half": (half[: len(half) // 2] + b"\n", "json"),
        "no object": (b"[1, 2]\n", "type"),
        "not UTF-8": (b'{"id": "\xff\xfe"}\n', "json"),
        "deep": (b"[" * 100_000 + b"\n", "json"),
        "no turns": ({"id": 1, "data_source": "bad", "image": "bad/whole.jpg"}, "type"),
        "turns of text": (image("bad/whole.jpg", conversations="hello"), "type"),
        "turn of a number": (image("bad/whole.jpg", conversations=[1, 2]), "type"),
        "value of a number": (image("bad/whole.jpg", conversations=turns(reply=7)), "type"),
        "role": (image("bad/whole.jpg", conversations=[{"from": "cat", "value": "meow"}]), "type"),
        "image of a number": (image("bad/whole.jpg", image=12), "type"),
        "half a surrogate": (image("bad/whole.jpg", conversations=turns(reply="\ud800")), "type"),
        "no answer": (image("bad/whole.jpg", conversations=turns()[:1]), "answer"),
        "empty answer": (image("bad/whole.jpg", conversations=turns(reply=" ")), "answer"),
        "question last": (image("bad/whole.jpg", conversations=[*turns(), turns("and?")[0]]), "answer"),
        "twice the user": (image("bad/whole.jpg", conversations=[turns("one")[0], *turns()]), "turns"),
        "marks": (image("bad/whole.jpg", conversations=turns("<image><image>")), "marks"),
        "mark in an answer": (image("bad/whole.jpg", conversations=turns("<image>?", "a <image>")), "marks"),
        "200 images": (image("bad/whole.jpg", image=["bad/whole.jpg"] * 200, conversations=turns("compare")), "many"),
        "end before start": ({**video, "video": "bad/frames", "start": 3, "end": 1}, "type"),
        "start in words": ({**video, "video": "bad/frames", "start": "soon"}, "type"),
    }  # fmt: skip
