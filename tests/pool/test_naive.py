"""Every pooler equals its definition, written as loops over rows, regions and members."""

import math

import pytest
import torch

from gazekit.pool import (
    CompressionPooler,
    IndexerPooler,
    LearnedAttentionPooler,
    LinearGatePooler,
    LowRankPooler,
    MaxPooler,
    MeanPooler,
    MinMaxPooler,
    OraclePooler,
    ProbePooler,
    SummaryPooler,
    UnrotatedMeanPooler,
)
from tests.pool.looks import ROPE, drawn, scenes, scored


class Naive:
    """What a definition may read: one sample, its regions as lists of tokens, queries and keys by head."""

    def __init__(self, look, regions, routed, sample):
        self.look, self.sample, self.scale = look, sample, look.scale
        self.regions = [
            (regions.owner[sample] == region).nonzero()[:, 0].tolist()
            for region in range(regions.count)
            if regions.size[sample, region] > 0
        ]
        self.rows = [query for query in routed.query[sample].tolist() if query >= 0]
        self.group = look.query.shape[1] // look.key.shape[1]
        tokens = look.tokens
        self.order, self.document = tokens.order[sample, 0].tolist(), tokens.document[sample, 0].tolist()
        self.angle = torch.atan2(look.sin[sample], look.cos[sample])[:, : ROPE // 2]

    def query(self, head, place):
        return self.look.query[self.sample, head, place]

    def key(self, head, place):
        return self.look.key[self.sample, head // self.group, place]

    def complete(self, query, region):
        members = self.regions[region]
        same = self.document[members[0]] == self.document[query]
        return same and max(self.order[m] for m in members) <= self.order[query]

    def turned(self, vector, angle):
        """The vector with its pairs turned by these angles, as complex numbers."""
        half = ROPE // 2
        pairs = torch.complex(vector[:half], vector[half:ROPE]) * torch.polar(torch.ones_like(angle), angle)
        return torch.cat([pairs.real, pairs.imag, vector[ROPE:]])


def mean(naive, pooler, head, query, members):
    keys = [naive.key(head, m) for m in members]
    return naive.query(head, query) @ (sum(keys) / len(keys))


def maximum(naive, pooler, head, query, members):
    keys = [naive.key(head, m) for m in members]
    return sum(naive.query(head, query)[c] * max(k[c] for k in keys) for c in range(len(keys[0])))


def bounds(naive, pooler, head, query, members):
    asked, total = naive.query(head, query), 0.0
    for c in range(len(asked)):
        low, high = (f(naive.key(head, m)[c] for m in members) for f in (min, max))
        total += max(asked[c] * low, asked[c] * high)
    return total


def oracle(naive, pooler, head, query, members):
    return (
        math.log(sum(math.exp(naive.scale * naive.query(head, query) @ naive.key(head, m)) for m in members))
        / naive.scale
    )


def seeded(naive, pooler, head, query, members):
    seed = pooler.seed[head // naive.group]
    weights = [math.exp(seed @ naive.key(head, m) / math.sqrt(len(seed))) for m in members]
    pooled = sum(w * naive.key(head, m) for w, m in zip(weights, members, strict=True)) / sum(weights)
    return naive.query(head, query) @ pooled


def low_rank(naive, pooler, head, query, members):
    basis = pooler.basis[head // naive.group]
    keys = [basis.T @ naive.key(head, m) for m in members]
    return (basis.T @ naive.query(head, query)) @ (sum(keys) / len(keys))


def unrotated(naive, pooler, head, query, members):
    plain = [naive.turned(naive.key(head, m), -naive.angle[m]) for m in members]
    angles = naive.angle[members]
    told = torch.polar(torch.ones_like(angles), angles).mean(0).abs() > 0.5
    near = [float(sum((naive.angle[m] - a)[told].cos().sum() for a in angles)) for m in members]
    centre = max(m for m, n in zip(members, near, strict=True) if n > max(near) - 1e-6)
    return naive.query(head, query) @ naive.turned(sum(plain) / len(plain), naive.angle[centre])


def gate(naive, pooler, head, query, members):
    plain = [naive.turned(naive.key(head, m), -naive.angle[m]) for m in members]
    channels = range(len(plain[0]))
    high, low = ([f(k[c] for k in plain) for c in channels] for f in (max, min))
    pooled = torch.cat([torch.stack(high), torch.stack(low), sum(plain) / len(plain)])
    key = naive.turned(pooled @ pooler.key[head // naive.group], naive.angle[members[0]])
    asked = naive.turned(naive.query(head, query), -naive.angle[query]) @ pooler.query[head]
    asked = naive.turned(asked, naive.angle[query])
    return asked @ key / math.sqrt(len(key)) / naive.scale


def indexer(naive, pooler, head, query, members):
    hidden = naive.look.hidden[naive.sample]
    asked, total = (hidden[query] @ pooler.query).view(pooler.num_heads, pooler.dim), 0.0
    key = sum(hidden[m] @ pooler.key for m in members) / len(members)
    for j in range(pooler.num_heads):
        total += (hidden[query] @ pooler.weight)[j] * max(0.0, float(asked[j] @ key))
    return total / naive.scale


DEFINITIONS = [
    (MeanPooler(), mean),
    (SummaryPooler(), mean),
    (MaxPooler(), maximum),
    (MinMaxPooler(), bounds),
    (OraclePooler(), oracle),
    (UnrotatedMeanPooler(), unrotated),
    (drawn(LearnedAttentionPooler()), seeded),
    (drawn(LowRankPooler(rank=2)), low_rank),
    (drawn(LinearGatePooler()), gate),
    (drawn(LinearGatePooler(dim=5)), gate),
    (drawn(IndexerPooler(num_heads=3, dim=4)), indexer),
]


def assert_equal(pooler, definition):
    """Compares all rows of all heads with all regions of every division."""
    for look, regions, routed in scenes():
        got, compared = scored(pooler, look, regions, routed), 0
        assert got.dtype == torch.float64
        for sample in range(2):
            naive = Naive(look, regions, routed, sample)
            expected = definition(naive)
            part = got[sample, :, : len(naive.rows), : len(naive.regions)]
            torch.testing.assert_close(part, expected, rtol=0, atol=1e-9)
            compared += expected.numel()
        assert compared > 100


@pytest.mark.parametrize(
    ("pooler", "definition"), DEFINITIONS, ids=lambda one: getattr(one, "__name__", None)
)
@torch.no_grad()
def test_it_equals_its_definition(pooler, definition):
    def table(naive):
        heads = range(naive.look.query.shape[1])
        return torch.tensor(
            [[[float(definition(naive, pooler, head, query, members)) for members in naive.regions]
              for query in naive.rows] for head in heads],
            dtype=torch.float64,
        )  # fmt: skip

    assert_equal(pooler, table)


def compressed(naive, pooler, head, members, kind="key"):
    """A block's key or value, member by member."""
    place, into, out = (
        getattr(pooler, f"{kind}_{name}")[head // naive.group] for name in ("place", "into", "out")
    )
    source = getattr(naive.look, kind)[naive.sample, head // naive.group]
    placed = [source[m] + place[i] for i, m in enumerate(members)]
    inner = torch.nn.functional.gelu(torch.cat(placed) @ into)
    return sum(placed) / len(placed) + inner @ out


@pytest.mark.parametrize(("length", "stride"), [(4, 2), (3, 3), (5, 2), (6, 1)])
@torch.no_grad()
def test_compression_equals_its_definition(length, stride):
    pooler = drawn(CompressionPooler(length=length, stride=stride))

    def table(naive):
        scores = torch.zeros(
            naive.look.query.shape[1], len(naive.rows), len(naive.regions), dtype=torch.float64
        )
        for head in range(scores.shape[0]):
            for row, query in enumerate(naive.rows):
                blocks = []
                for document in {naive.document[r[0]] for r in naive.regions}:
                    line = [(r, m) for r, region in enumerate(naive.regions)
                            if naive.document[region[0]] == document for m in region]  # fmt: skip
                    for start in range(0, len(line) - length + 1, stride):
                        block = line[start : start + length]
                        ends = [max(naive.order[m] for m in naive.regions[r]) for r, _ in block]
                        if max(ends) == ends[-1] and naive.complete(query, block[-1][0]):
                            blocks.append(block)
                if not blocks:
                    continue
                logits = [
                    naive.scale
                    * naive.query(head, query)
                    @ compressed(naive, pooler, head, [m for _, m in b])
                    for b in blocks
                ]
                for paid, block in zip(torch.stack(logits).softmax(0), blocks, strict=True):
                    for region, _ in block:
                        scores[head, row, region] += paid / stride
        return scores

    assert_equal(pooler, table)


@torch.no_grad()
def test_probe_equals_its_definition():
    pooler = ProbePooler(num_probe=3)

    def table(naive):
        scores = torch.zeros(
            naive.look.query.shape[1], len(naive.rows), len(naive.regions), dtype=torch.float64
        )
        ordinal = [
            sum(naive.document[o[0]] == naive.document[r[0]] for o in naive.regions[:i])
            for i, r in enumerate(naive.regions)
        ]
        reached = lambda q: [r for r in range(len(naive.regions)) if naive.complete(q, r)]  # noqa: E731
        distance = lambda q, r: len(reached(q)) - ordinal[r]  # noqa: E731
        for head in range(scores.shape[0]):
            column, diagonal = {}, {}
            for document in set(naive.document) - {-1}:
                queries = [q for q, d in enumerate(naive.document) if d == document]
                for probe in queries[-3:]:
                    mass = [math.exp(naive.scale * oracle(naive, None, head, probe, naive.regions[r]))
                            for r in reached(probe)]  # fmt: skip
                    for r, one in zip(reached(probe), mass, strict=True):
                        where = (document, distance(probe, r))
                        column[r] = column.get(r, 0) + one / sum(mass) / 3
                        diagonal[where] = diagonal.get(where, 0) + one / sum(mass) / 3
            for row, query in enumerate(naive.rows):
                for r in reached(query):
                    along = diagonal.get((naive.document[query], distance(query, r)), 0)
                    scores[head, row, r] = max(column.get(r, 0), along)
        return scores

    for look, regions, routed in scenes():
        got = scored(pooler, look, regions, routed)
        for sample in range(2):
            naive = Naive(look, regions, routed, sample)
            expected = table(naive)
            there = torch.tensor(
                [[naive.complete(q, r) for r in range(len(naive.regions))] for q in naive.rows]
            )
            part = got[sample, :, : len(naive.rows), : len(naive.regions)]
            torch.testing.assert_close(part[:, there], expected[:, there], rtol=0, atol=1e-9)
            assert (expected[:, there] > 0).any()
