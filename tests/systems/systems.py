"""Which naive implementation each recipe is held against, and at which size."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.systems.harness import Naive
from tests.systems.naive.gaze import gaze


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
        training: What makes the recipe fit a mosaic of 8 x 8 tokens, to train on it.
    """

    naive: Naive
    overrides: Sequence[str] = ()
    context: int = 0
    outside: bool = False
    layers: Sequence[int] = (0,)
    decodes: bool = True
    training: Sequence[str] = ()


SYSTEMS = {
    "systems/gaze-compressed": System(
        naive=lambda g: gaze(g.prompt, g.q, g.k, g.v, size=(1, 1, 2), top=2),
        overrides=["gaze.partition.size=[1, 1, 2]", "gaze.route.k=2"],
        context=2,
        training=["gaze.partition.size=[1, 2, 2]", "gaze.route.k=1"],
    ),
    "systems/gaze-image": System(
        naive=lambda g: gaze(g.prompt, g.q, g.k, g.v, size=(1, 2, 2), top=1),
        overrides=["gaze.partition.size=[1, 2, 2]", "gaze.route.k=1"],
        context=1,
        training=["gaze.partition.size=[1, 2, 2]"],
    ),
    "systems/gaze-video": System(
        naive=lambda g: gaze(g.prompt, g.q, g.k, g.v, size=(2, 2, 2), top=2),
        overrides=["gaze.partition.size=[2, 2, 2]", "gaze.route.k=2"],
        context=1,
        training=["gaze.partition.size=[1, 2, 2]", "gaze.route.k=4"],
    ),
}
