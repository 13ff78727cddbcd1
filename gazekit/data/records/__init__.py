"""Conversations as they lie on disk: rows, the records in them, and the files that they name."""

from gazekit.data.records.fault import FaultKind, RowFault
from gazekit.data.records.frames import VideoReader, choose_frames, choose_times, list_pictures
from gazekit.data.records.limits import Limits
from gazekit.data.records.open import RecordOpener
from gazekit.data.records.prompt import read_prompt
from gazekit.data.records.record import ImageFile, Record, VideoFile
from gazekit.data.records.root import DataRoot
from gazekit.data.records.rows import JsonRows, Rows
from gazekit.data.records.schema import read_record

__all__ = [
    "DataRoot",
    "FaultKind",
    "ImageFile",
    "JsonRows",
    "Limits",
    "Record",
    "RecordOpener",
    "RowFault",
    "Rows",
    "VideoFile",
    "VideoReader",
    "choose_frames",
    "choose_times",
    "list_pictures",
    "read_prompt",
    "read_record",
]
