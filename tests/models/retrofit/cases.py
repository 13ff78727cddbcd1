"""All architectures; adding one is its adapter and its case."""

from tests.models.retrofit import qwen

CASES = {**qwen.CASES}
