"""From a record to a conversation: opens what it shows."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from gazekit.data.conversation import Conversation, Frames
from gazekit.data.records.fault import RowFault
from gazekit.data.records.frames import VideoReader, read_folder
from gazekit.data.records.limits import Limits
from gazekit.data.records.picture import read_picture
from gazekit.data.records.record import Record, VideoFile
from gazekit.data.records.root import DataRoot


@dataclass(frozen=True, kw_only=True)
class RecordOpener:
    """Opens the images and videos of records.

    Attributes:
        limits: What a sample may hold.
        video: Reads video files; None = they are a fault. Folders of frames need no reader.
    """

    limits: Limits
    video: VideoReader | None = None

    def __call__(self, record: Record, root: DataRoot | None, *, header_only: bool = False) -> Conversation:
        """The conversation with all that it shows.

        Args:
            record: What is shown, by path.
            root: What its paths are relative to; None = a record that names files is a fault.
            header_only: Decodes nothing: reads the sizes of images, and sees that videos are there; the conversation is
                good for nothing but a check.

        Raises:
            RowFault: Something is missing, broken, too large or too much.
        """
        if len(record.images) > self.limits.images:
            raise RowFault(
                "many", f"the row shows {len(record.images)} images, more than {self.limits.images}; split it"
            )
        images = tuple(
            read_picture(image, root, pixels=self.limits.pixels, header_only=header_only)
            for image in record.images
        )
        return Conversation(
            messages=tuple(record.messages),
            images=images,
            videos=tuple(self._watch(video, root, header_only) for video in record.videos),
        )

    def _watch(self, video: VideoFile, root: DataRoot | None, header_only: bool) -> Frames:
        if root is None:
            raise RowFault("missing", f"{video.path} cannot be found: the data has no root; name its folder")
        path = root.find(video.path)
        if path.is_dir():
            return read_folder(path, video, root, self.limits, header_only=header_only)
        with root.open(video.path) as file:
            if header_only:
                return Frames((Image.new("RGB", (1, 1)),), (0.0,))
            if self.video is None:
                raise RowFault("reader", f"{video.path} needs a reader of video files; give video: one")
            try:
                return self.video.read(file, video, self.limits)
            except RowFault:
                raise
            except ValueError as error:
                raise RowFault("broken", f"{video.path} cannot be shown ({error})") from error
