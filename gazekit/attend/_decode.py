"""What the backends for decoding have in common."""

from __future__ import annotations

from jaxtyping import Bool
from torch import Tensor

from gazekit.contracts import Entries, Kind, Plan, Tokens, complete_regions, reachable


def refuses_decoding(entries: Entries, plan: Plan) -> str | None:
    """Why a plan is not one routing query per sample over regions that lie contiguously; None = it is."""
    if plan.query.length != 1:
        return f"it decodes one query per sample, and there are {plan.query.length}"
    if not plan.routes:
        return "nothing is routed, so every entry is looked at"
    if entries.begin is None or entries.count is None or entries.free is None:
        return "the entries do not say where each region begins and how long it is"
    if bool(((plan.rows.of < 0) & plan.query.valid[:, 0]).any()):
        return "a query does not route, so it looks at every entry"
    if plan.keeps is not None and plan.keeps(plan.query, entries.tokens) is not None:
        return "a rule keeps entries in view that the selection does not name"
    rows, regions = plan.rows, plan.regions
    declared = (rows.document[:, :, None] == regions.document[:, None]) & rows.valid[:, :, None]
    if bool((declared & ~complete_regions(rows, regions)).any()):
        return "a region is not complete yet, so its members lie apart"
    return None


def reached(
    query: Tokens, key: Tokens, confined: frozenset[Kind]
) -> Bool[Tensor, "batch #kv_head query key"]:
    """What `reachable` says, in a few steps: between two products each step starts with the caches cold.

    For few queries; many take less time the other way.
    """
    if any(bool((query.kind == int(kind)).any()) for kind in confined):
        return reachable(query, key, confined)
    query_document = query.document.masked_fill(~query.valid, -2)[..., None]
    key_document, key_order = (field[..., None, :] for field in (key.document, key.order))
    same = (key_document == query_document) & key.valid[..., None, :]
    return same & (key_order <= query.order[..., None])
