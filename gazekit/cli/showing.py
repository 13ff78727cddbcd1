"""Files that a user names, opened for a model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from gazekit.data import Conversation, Frames, Limits, Message, Slot
from gazekit.data.records import DataRoot, Record, RecordOpener, VideoFile
from gazekit.data.video import PyAVReader
from gazekit.models import Question, Sampling


def sampling_of(arguments: argparse.Namespace) -> Sampling:
    """How words are chosen.

    Raises:
        ValueError: A number is out of range.
    """
    return Sampling(
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        top_p=arguments.top_p,
        seed=arguments.seed,
    )


def opener_of(arguments: argparse.Namespace) -> RecordOpener:
    """Opens what prompts name.

    Raises:
        ValueError: A number is out of range.
    """
    return RecordOpener(limits=Limits(fps=arguments.fps, frames=arguments.max_frames), video=PyAVReader())


def check_files(images: Sequence[Path], videos: Sequence[Path] = ()) -> None:
    """Says which file is not there, before anything slow begins.

    Raises:
        FileNotFoundError: There is no such image or video.
    """
    for image in images:
        if not image.is_file():
            raise FileNotFoundError(f"there is no image {image}")
    for video in videos:
        if not video.exists():
            raise FileNotFoundError(f"there is no video {video}")


def watch(video: Path, opener: RecordOpener) -> Frames:
    """The frames of a video file, or of a folder of them, wherever it lies.

    Raises:
        ValueError: It cannot be shown.
    """
    real = video.resolve()
    asks = Message(role="user", content=(Slot.VIDEO,))
    record = Record(name="", source="", messages=(asks,), videos=(VideoFile(real.name),))
    return opener(record, DataRoot(real.parent)).videos[0]


def question_of(talk: Conversation, name: str) -> Question:
    """A conversation that ends with the user's turn, as models are asked."""
    return Question(
        messages=talk.as_chat(),
        images=list(talk.images),
        videos=[list(video.images) for video in talk.videos],
        timestamps=[list(video.timestamps) for video in talk.videos],
        name=name,
    )
