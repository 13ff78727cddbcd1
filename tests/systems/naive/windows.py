"""Patterns that do not depend on what the tokens say.

Sliding window (Child et al. 2019, arXiv 1904.10509; Beltagy et al. 2020, section 3.1): a query sees the w
tokens that end with itself.

Longformer (Beltagy et al. 2020, arXiv 2004.05150, section 3.1): a sliding window, and global tokens that see
and are seen by everything. Which ones are global is up to the task; here the first g of the prompt, whose own
view is then complete anyway. A causal decoder has the half of the window that lies before the query. The
paper's second set of projections for global attention is a stated exception: here all attention shares one.

A-shape (StreamingLLM, Xiao et al. 2023, arXiv 2309.17453; MInference, Jiang et al. 2024, arXiv 2407.02490,
section 3.1): the first tokens and a window, which is Longformer's pattern under another name.

BigBird (Zaheer et al. 2020, arXiv 2007.14062, section 2 and appendix D): blocks of b tokens; a query sees the
first g blocks (global), its own block and the w blocks before it (the window's causal part), and r random
blocks. The random ones are drawn for each query and head, as section 2 has it; the official code draws once for
all queries of a block. The lots are `hashed_lot`, so that prefill and decoding agree.
"""

from torch import Tensor

from tests.systems.naive.base import Prompt, attend

MASK = 2**64 - 1


def sliding_window(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, window: int) -> Tensor:
    return attend(q, k, v, lambda _, i: range(max(0, i - window + 1), i + 1))


def sinks_and_window(prompt: Prompt, q: Tensor, k: Tensor, v: Tensor, *, first: int, window: int) -> Tensor:
    return attend(q, k, v, lambda _, i: [j for j in range(i + 1) if j < first or i - j < window])


def big_bird(
    prompt: Prompt,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    block: int,
    first: int,
    latest: int,
    random: int,
    layer: int,
) -> Tensor:
    blocks = prompt.runs(block)

    def seen(h: int, i: int) -> list[int]:
        own = i // block
        standing = {*range(min(first, own)), *range(max(0, own - latest), own), own}
        others = [n for n in range(own) if n not in standing]
        drawn = sorted(others, key=lambda n: -signed(hashed_lot(0, layer, h, i, n)))[:random]
        return [j for n in (*standing, *drawn) for j in blocks[n] if j <= i]

    return attend(q, k, v, seen)


def hashed_lot(seed: int, layer: int, head: int, order: int, block: int) -> int:
    """A chain of splitmix64 steps (Steele, Lea and Flood 2014) over what the lot depends on."""
    state = splitmix(seed)
    for part in (layer, head, order, block):
        state = splitmix((state + part) & MASK)
    return state


def splitmix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def signed(x: int) -> int:
    return x - 2**64 if x >> 63 else x
