"""The commands, one file each. Rooms are loaded when a command needs them, so that help and errors are quick."""

from __future__ import annotations

from types import ModuleType

from gazekit.cli.commands import (
    bench,
    chat,
    check,
    compare,
    cost,
    data,
    demo,
    doctor,
    evaluate,
    export,
    generate,
    inspect,
    show,
    train,
)

COMMANDS: dict[str, ModuleType] = {
    "demo": demo,
    "train": train,
    "generate": generate,
    "chat": chat,
    "evaluate": evaluate,
    "compare": compare,
    "check": check,
    "show": show,
    "inspect": inspect,
    "cost": cost,
    "bench": bench,
    "export": export,
    "data": data,
    "doctor": doctor,
}
"""By name, in the order in which help lists them: each has `add(commands)` and `run(arguments)`."""
