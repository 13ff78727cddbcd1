from dataclasses import replace

import pytest
import torch

from gazekit.contracts import Look
from gazekit.pool import ProbePooler
from gazekit.testing import Runs, divide
from tests.pool.looks import look_at, scored
from tests.scenes import layout, rows


def test_single_tokens_are_columns_and_diagonals():
    prompt, probes = layout("t10"), 4
    regions = divide(prompt, Runs(length=1))
    look = look_at(prompt)
    got = scored(ProbePooler(num_probe=probes), look, regions, rows(prompt, regions))
    keys = look.key.repeat_interleave(2, dim=1)
    logits = look.scale * look.query @ keys.transpose(2, 3)
    later = torch.ones(10, 10, dtype=torch.bool).triu(1)
    paid = logits.masked_fill(later, -torch.inf).softmax(-1)[0, :, -probes:] / probes
    for head in range(4):
        diagonal = [paid[head].diagonal(10 - probes - distance).sum() for distance in range(10)]
        for query in range(10):
            for key in range(query + 1):
                expected = torch.maximum(paid[head, :, key].sum(), diagonal[query - key])
                torch.testing.assert_close(got[0, head, query, key], expected, rtol=0, atol=1e-9)


def test_decoding_keeps_the_prompt_s_pattern():
    prompt = layout("t3 v2x3 t3")
    longer = prompt.extended(13)
    whole = divide(longer, Runs(length=3))
    pooler, look = ProbePooler(num_probe=2), look_at(prompt)
    described = pooler.describe(look, divide(prompt, Runs(length=3)))
    step = look_at(longer).query[:, :, 12:]
    row = rows(longer, whole, start=12)
    got = [pooler.score(Look(q, look.key, look.value, 0, look.scale), row, described) for q in (step, -step)]
    assert torch.equal(*got), "a generated token is a probe of regions that were complete before it"
    columns = described.tensors["paid"].sum(-1)[:, :, None]
    assert (got[0] >= columns).all()
    assert (got[0] > columns).any(), "no diagonal goes on, so that the test shows nothing"


def test_it_needs_to_know_its_queries():
    prompt = layout("t4")
    look = replace(look_at(prompt), tokens=None)
    with pytest.raises(ValueError, match=r"look\.tokens must be given: probes are the last queries"):
        ProbePooler().describe(look, divide(prompt, Runs(length=2)))


def test_at_least_one_query_probes():
    with pytest.raises(ValueError, match="num_probe must be at least 1, got 0; the source has 64"):
        ProbePooler(num_probe=0)
