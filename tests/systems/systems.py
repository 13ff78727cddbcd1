"""Which naive implementation each recipe is held against, and at which size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from tests.systems.harness import Given, Naive
from tests.systems.naive import dsa as lightning
from tests.systems.naive import seer as gate
from tests.systems.naive.dsa import deepseek_sparse
from tests.systems.naive.gaze import gaze
from tests.systems.naive.guided import map_divergence, map_guided
from tests.systems.naive.minference import block_sparse, vertical_slash
from tests.systems.naive.moba import moba
from tests.systems.naive.moc import mixture_of_contexts
from tests.systems.naive.nsa import native_sparse
from tests.systems.naive.quest import quest
from tests.systems.naive.seer import seer_attention
from tests.systems.naive.twilight import twilight
from tests.systems.naive.vmoba import video_moba
from tests.systems.naive.vsa import video_sparse
from tests.systems.naive.windows import big_bird, sinks_and_window, sliding_window


@dataclass(frozen=True)
class System:
    """A recipe of `recipes/systems` in a test.

    Attributes:
        naive: What its paper defines, at the size that `overrides` give the recipe.
        overrides: What makes it small.
        context: Context tokens of each unit.
        outside: The prompts come with shots and a map.
        layers: Decoder layers that are tried.
        decodes: The definition says what a token sees that is decoded.
        loss: What its learned parts are taught by, summed over rows, and how many rows there are.
    """

    naive: Naive
    overrides: Sequence[str] = ()
    context: int = 0
    outside: bool = False
    layers: Sequence[int] = (0,)
    decodes: bool = True
    loss: Callable[[Given], tuple[Tensor, int]] | None = None


def gates(given: Given) -> Tensor:
    """A sigmoid of a linear map of the hidden states, `[branch head token]`; of the learned parts only the weights."""
    linear = given.gaze.combine.gate
    raw = (given.hidden @ linear.weight.T + linear.bias).sigmoid()
    return raw.T.reshape(-1, given.q.shape[0], given.q.shape[1])


def nsa(given: Given) -> Tensor:
    return native_sparse(
        given.prompt, given.q, given.k, given.v, maps=dict(given.gaze.branches[0].pool.named_parameters()),
        gates=gates(given), length=4, stride=2, block=4, top=1, first=1, latest=1, size=5,
    )  # fmt: skip


def seer(given: Given) -> Tensor:
    pool = given.gaze.pool
    return seer_attention(
        given.prompt, given.q, given.k, given.v, cos=given.cos, sin=given.sin, query_map=pool.query,
        key_map=pool.key, block=4, top=2,
    )  # fmt: skip


def dsa(given: Given) -> Tensor:
    pool = given.gaze.pool
    return deepseek_sparse(
        given.prompt, given.q, given.k, given.v, hidden=given.hidden, query=pool.query, key=pool.key,
        weight=pool.weight, top=7,
    )  # fmt: skip


def seer_loss(given: Given) -> tuple[Tensor, int]:
    pool = given.gaze.pool
    return gate.distillation(
        given.prompt, given.q.detach(), given.k.detach(), cos=given.cos, sin=given.sin, query_map=pool.query,
        key_map=pool.key, block=4,
    )  # fmt: skip


def dsa_loss(given: Given) -> tuple[Tensor, int]:
    pool = given.gaze.pool
    return lightning.distillation(
        given.prompt, given.q.detach(), given.k.detach(), hidden=given.hidden.detach(), query=pool.query,
        key=pool.key, weight=pool.weight,
    )  # fmt: skip


SYSTEMS = {
    "systems/bigbird": System(
        naive=lambda g: big_bird(
            g.prompt, g.q, g.k, g.v, block=3, first=1, latest=1, random=2, layer=g.layer
        ),
        overrides=["gaze.partition.length=3", "gaze.route.first=1", "gaze.route.inner.k=2"],
        layers=(0, 1),
    ),
    "systems/gaze-compressed": System(
        naive=lambda g: gaze(g.prompt, g.q, g.k, g.v, size=(1, 1, 2), top=2),
        overrides=["gaze.partition.size=[1, 1, 2]", "gaze.route.k=2"],
        context=2,
    ),
    "systems/gaze-image": System(
        naive=lambda g: gaze(g.prompt, g.q, g.k, g.v, size=(1, 2, 2), top=1),
        overrides=["gaze.partition.size=[1, 2, 2]", "gaze.route.k=1"],
        context=1,
    ),
    "systems/gaze-video": System(
        naive=lambda g: gaze(g.prompt, g.q, g.k, g.v, size=(2, 2, 2), top=2),
        overrides=["gaze.partition.size=[2, 2, 2]", "gaze.route.k=2"],
        context=1,
    ),
    "systems/human-gaze-guided": System(
        naive=lambda g: map_guided(g.prompt, g.q, g.k, g.v, size=(1, 2, 2), top=1, weight=2.0),
        overrides=["gaze.partition.size=[1, 2, 2]", "gaze.route.inner.k=1"],
        outside=True,
        loss=lambda g: map_divergence(g.prompt, g.q, g.k, size=(1, 2, 2)),
    ),
    "systems/longformer": System(
        naive=lambda g: sinks_and_window(g.prompt, g.q, g.k, g.v, first=3, window=5),
        overrides=["gaze.context.parts.0.num=3", "gaze.context.parts.1.size=5"],
    ),
    "systems/minference-a-shape": System(
        naive=lambda g: sinks_and_window(g.prompt, g.q, g.k, g.v, first=2, window=7),
        overrides=["gaze.context.parts.0.num=2", "gaze.context.parts.1.size=7"],
    ),
    "systems/minference-block-sparse": System(
        naive=lambda g: block_sparse(g.prompt, g.q, g.k, g.v, block=4, top=2),
        overrides=["gaze.partition.length=4", "gaze.rows.length=4", "gaze.route.inner.k=2"],
        decodes=False,
    ),
    "systems/minference-vertical-slash": System(
        naive=lambda g: vertical_slash(g.prompt, g.q, g.k, g.v, probes=4, top=6),
        overrides=["gaze.pool.num_probe=4", "gaze.route.k=6"],
        decodes=False,
    ),
    "systems/moba": System(
        naive=lambda g: moba(g.prompt, g.q, g.k, g.v, block=4, top=3),
        overrides=["gaze.partition.length=4", "gaze.route.inner.k=2"],
    ),
    "systems/moc": System(
        naive=lambda g: mixture_of_contexts(g.prompt, g.q, g.k, g.v, top=1),
        overrides=["gaze.route.inner.k=1"],
        outside=True,
    ),
    "systems/quest": System(
        naive=lambda g: quest(g.prompt, g.q, g.k, g.v, page=4, top=3),
        overrides=["gaze.partition.length=4", "gaze.route.inner.k=2"],
    ),
    "systems/saliency-guided": System(
        naive=lambda g: map_guided(g.prompt, g.q, g.k, g.v, size=(1, 2, 2), top=1, weight=1.0),
        overrides=["gaze.partition.size=[1, 2, 2]", "gaze.route.inner.k=1"],
        outside=True,
    ),
    "systems/sliding-window": System(
        naive=lambda g: sliding_window(g.prompt, g.q, g.k, g.v, window=6),
        overrides=["gaze.context.size=6"],
    ),
    "systems/twilight": System(
        naive=lambda g: twilight(g.prompt, g.q, g.k, g.v, page=4, pages=3, mass=0.7),
        overrides=["gaze.route.coarse.length=4", "gaze.route.coarse_k=3", "gaze.route.inner.mass=0.7"],
    ),
    "systems/vmoba": System(
        naive=lambda g: video_moba(
            g.prompt, g.q, g.k, g.v, sizes=[(1, 100, 100), (100, 1, 2), (1, 2, 2)], mass=0.5, layer=g.layer
        ),
        overrides=[
            "gaze.0.partition.size=[1, 100, 100]",
            "gaze.1.partition.size=[100, 1, 2]",
            "gaze.2.partition.size=[1, 2, 2]",
            *(f"gaze.{n}.route.inner.mass=0.5" for n in range(3)),
        ],
        layers=(0, 1, 2),
    ),
    "systems/dsa": System(
        naive=dsa,
        overrides=["gaze.pool.num_heads=2", "gaze.pool.dim=6", "gaze.route.k=7"],
        loss=dsa_loss,
    ),
    "systems/nsa": System(
        naive=nsa,
        overrides=[
            *(f"gaze.branches.{n}.partition.length=4" for n in (0, 1)),
            *(f"gaze.branches.{n}.pool.{name}" for n in (0, 1) for name in ("length=4", "stride=2")),
            "gaze.branches.1.route.inner.k=1",
            "gaze.branches.2.context.size=5",
        ],
    ),
    "systems/seerattention": System(
        naive=seer,
        overrides=["gaze.partition.length=4", "gaze.rows.length=4", "gaze.route.inner.k=2"],
        decodes=False,
        loss=seer_loss,
    ),
    "systems/vsa": System(
        naive=lambda g: video_sparse(g.prompt, g.q, g.k, g.v, gates=gates(g), size=(1, 2, 2), top=1),
        overrides=[
            *(f"gaze.branches.{n}.partition.size=[1, 2, 2]" for n in (0, 1)),
            "gaze.branches.1.rows.size=[1, 2, 2]",
            "gaze.branches.1.route.k=1",
        ],
        decodes=False,
    ),
}
