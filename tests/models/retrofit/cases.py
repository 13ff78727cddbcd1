"""All architectures; adding one is its adapter and its case."""

from tests.models.retrofit import qwen, tiny_llava, tiny_tiles

CASES = {**qwen.CASES, **tiny_llava.CASES, **tiny_tiles.CASES}
