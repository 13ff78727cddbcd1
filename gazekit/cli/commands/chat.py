"""`gazekit chat`: a conversation with a model."""

from __future__ import annotations

import argparse

from gazekit.cli.arguments import add_command, add_device, add_model, add_sampling


def add(commands: argparse._SubParsersAction) -> None:
    """Adds the command."""
    chat = add_command(
        commands,
        "chat",
        "talk with a model, with images and videos in any turn",
        "inside: /image FILE, /video FILE, /system TEXT, /reset, /help, /quit\n"
        "example:\n  gazekit chat demo/model\n"
        "  printf '/image X.png\\nread row 2\\nread row 3\\n' | gazekit chat demo/model\n",
    )
    add_model(chat)
    chat.add_argument("--system", metavar="TEXT", help="what the system says first (default: nothing)")
    add_sampling(chat)
    add_device(chat)


def run(arguments: argparse.Namespace) -> int:
    """Talks until the end of what is typed; answers 1 where piped lines could not be answered."""
    from gazekit.cli.chat import chat

    return chat(arguments)
