"""What a part of each room must be able to do. A part is a plain class; nothing here is inherited."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from gazekit.contracts.attention import Entries, Plan
from gazekit.contracts.layout import TokenLayout
from gazekit.contracts.look import Described, Look, Selection, Sizes, Summary, View
from gazekit.contracts.regions import Regions, Rows
from gazekit.contracts.tokens import Kind, Tokens


@runtime_checkable
class Partitioner(Protocol):
    """Divides the tokens of `kinds` into regions. Region ids never change when tokens follow."""

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of tokens that it divides; every one of them is in exactly one region."""

    def __call__(self, layout: TokenLayout) -> Regions:
        """The regions of a prompt."""


@runtime_checkable
class Guide(Protocol):
    """Writes into the layout what is seen of images outside the model: segments, or a map of where to look."""

    def __call__(
        self, layout: TokenLayout, pixels: Float[Tensor, "batch unit 3 height width"]
    ) -> TokenLayout:
        """The layout with `segment` or `prior`; all else as it was.

        `pixels` are those that the vision tower is given, a unit of the sample each, as `layout.tokens.unit` counts
        them; what is padding belongs to no token.
        """


@runtime_checkable
class Pooler(Protocol):
    """What a region looks like from afar, and how well it matches a query."""

    def describe(self, look: Look, regions: Regions) -> Described:
        """Descriptors of all regions. `regions.owner` aligns with `look.key`; keys of no region are ignored.

        Called when regions complete, with all members of those at hand; the caller keeps what it asked for.
        """

    def score(self, look: Look, rows: Rows, described: Described) -> Float[Tensor, "batch head row region"]:
        """How well each region matches each row, fp32 or wider, unscaled; anything for rows and regions not there.

        `rows.query` indexes `look.query`; one chunk of rows at a time.
        """


@runtime_checkable
class Featuring(Protocol):
    """What a pooler adds that keeps something of each token: from its hidden state, or its key before RoPE.

    The caller keeps the features beside the keys, in the order of the sequence, and hands them to `describe` as
    `look.features`, aligned with `look.key`.
    """

    def features(self, look: Look) -> Float[Tensor, "batch feature_head query feature"]:
        """Features of the tokens of a forward; `look.key` and `look.hidden` are theirs and align with the queries.

        Called once for each token, when it arrives. Features of padding are never read.
        """


@runtime_checkable
class Summarizer(Protocol):
    """What a pooler adds whose descriptors can stand in the softmax as entries of their own."""

    def entries(self, described: Described) -> Summary:
        """A key and a value for each region, or several; anything for a region that is not complete.

        Every query sees the entries of regions that end before it or with it, in its own document.
        """


@runtime_checkable
class Learned(Protocol):
    """What a part with weights, an `nn.Module`, adds: it gets its weights when it is put into a layer."""

    def bind(self, sizes: Sizes) -> None:
        """Makes the weights, drawn from torch's generator; each layer binds a copy of its own."""


@runtime_checkable
class Router(Protocol):
    """Which regions each row looks at."""

    def __call__(self, scores: Float[Tensor, "batch head row region"] | None, view: View) -> Selection | None:
        """The selection; only complete regions, ascending. None = all of them. `scores` is None without a pooler."""


@runtime_checkable
class Schedule(Protocol):
    """How open the routing of a layer is at a point of training."""

    def __call__(self, progress: float, depth: float = 0.0) -> float:
        """Openness in [0, 1] (1 = dense, 0 = the target) at `progress` in [0, 1] of training.

        `depth` is the layer's place from 0 (the first layer) to 1 (the last).
        """


@runtime_checkable
class Context(Protocol):
    """What stays in view whatever is routed."""

    @property
    def num_tokens(self) -> int:
        """Learned context tokens appended to each unit."""

    def keeps(self, query: Tokens, key: Tokens) -> Bool[Tensor, "batch #head query key"] | None:
        """An elementwise rule on tokens: True = stays in view; None = no such rule."""


@runtime_checkable
class Combine(Protocol):
    """Makes one answer of the answers of several branches, each of which attended by itself."""

    def __call__(
        self, look: Look, outs: Sequence[Float[Tensor, "batch head query value_dim"]]
    ) -> Float[Tensor, "batch head query value_dim"]:
        """The answer; `outs` stand in the order of the branches."""


@runtime_checkable
class RoutingLoss(Protocol):
    """What scores or attention should be like, as a loss beside the model's own."""

    @property
    def weight(self) -> float:
        """Factor on its gradient."""

    @property
    def detach(self) -> bool:
        """True = the scores train the pooler's weights alone; False = queries, keys and hidden states too."""

    def __call__(
        self, scores: Float[Tensor, "batch head row region"] | None, look: Look, view: View
    ) -> Float[Tensor, ""]:
        """The loss summed over the rows of a chunk, and averaged over heads; the caller takes the mean of all rows.

        `look.key` aligns with `view.keys`, which says what each key is and which region owns it. `scores` is None
        without a pooler. Gradients that flow through `look` reach the model.
        """


@runtime_checkable
class Backend(Protocol):
    """Looks: one softmax over all visible entries."""

    def attend(
        self, query: Float[Tensor, "batch head query dim"], entries: Entries, plan: Plan
    ) -> Float[Tensor, "batch head query value_dim"]:
        """Attention; a query that sees nothing gives zeros."""

    def refuses(self, entries: Entries, plan: Plan) -> str | None:
        """Why it cannot do this plan, None = it can. Asked once per forward for layers that agree in what matters."""


@runtime_checkable
class Sparing(Protocol):
    """What a backend adds that reads regions where they begin: it can do with entries of those alone that it names."""

    def reads(self, plan: Plan) -> Selection | None:
        """The regions that it reads of a plan that it does not refuse; None = all entries, as they lie."""


@runtime_checkable
class Store(Protocol):
    """What one layer's KV cache is to us."""

    @property
    def length(self) -> int:
        """Tokens seen, padding included; not tokens stored."""

    def add(self, look: Look, tokens: Tokens, regions: Regions) -> None:
        """Takes in the keys and values of a forward; `tokens` says what they are and which region owns each.

        `regions` divides the whole layout as declared; regions may be added later, never changed.
        """

    def entries(self) -> Entries:
        """All that is stored, on the device that the keys came from."""

    def outline(self) -> Entries:
        """`entries()` without bringing anything in: keys and values that are elsewhere read as NaN."""

    def fetch(self, selection: Selection | None) -> Entries:
        """The entries that a selection looks at, and all free ones; None = everything.

        For each KV head that is every member of the regions that any row of its query heads chose; they must be
        complete, as what may be chosen is, since copies of others would age. The selection's ids stay as they are:
        `begin` says where each region lies, and `count` is 0 for one that is not at hand. They lie in no particular
        order, and others may lie between them.
        """

    def keep(self, index: Int[Tensor, "batch #kv_head entry"]) -> None:
        """Drops all entries but these (indices into `entries()`, -1 = none), as an eviction decided."""

    def mark(self) -> None:
        """Remembers this point, for `rollback`."""

    def rollback(self) -> None:
        """Forgets what was added since the last `mark`."""

    def reorder(self, sample: Int[Tensor, " new_batch"]) -> None:
        """Permutes, repeats or drops samples, as beam search asks."""


@runtime_checkable
class Storage(Protocol):
    """Where a composition has its keys and values kept."""

    def __call__(self) -> Store:
        """An empty store, one for each layer."""
