from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toys() -> str:
    """The path of a user's own file."""
    return str(Path(__file__).with_name("toy_parts.py"))
