"""What benchmarks ask: prompts by profile, data from the hub or from a folder."""

from gazekit.evaluate.benchmarks.frames import read_frames
from gazekit.evaluate.benchmarks.loading import Docs, load
from gazekit.evaluate.benchmarks.table import GROUPS, TASKS, named
from gazekit.evaluate.benchmarks.task import IMAGE_MARK, Form, Join, Rows, Source, Task

__all__ = [
    "GROUPS",
    "IMAGE_MARK",
    "TASKS",
    "Docs",
    "Form",
    "Join",
    "Rows",
    "Source",
    "Task",
    "load",
    "named",
    "read_frames",
]
