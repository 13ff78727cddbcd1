import pytest
import torch

from gazekit.contracts import Look
from gazekit.pool import CompressionPooler, SummaryPooler
from gazekit.testing import Runs, divide
from tests.pool.looks import drawn, look_at, scored
from tests.scenes import layout, rows


def test_regular_blocks_are_equation_9():
    length, stride, size = 4, 2, 8
    prompt = layout("t32")
    regions = divide(prompt, Runs(length=size))
    pooler, look = drawn(CompressionPooler(length=length, stride=stride)), look_at(prompt)
    last = rows(prompt, regions).narrow(31, 32)
    with torch.no_grad():
        described = pooler.describe(look, regions)
        got = pooler.score(look, last, described)[0, :, 0]
        place, into, out = pooler.key_place, pooler.key_into, pooler.key_out
        for head in range(4):
            group, starts = head // 2, range(0, 32 - length + 1, stride)
            blocks = [look.key[0, group, i : i + length] + place[group] for i in starts]
            keys = torch.stack(
                [b.mean(0) + torch.nn.functional.gelu(b.flatten() @ into[group]) @ out[group] for b in blocks]
            )
            paid = (look.scale * keys @ look.query[0, head, 31]).softmax(0)
            for j in range(1, 5):
                pieces = [
                    size // stride * j - m - n for m in range(size // stride) for n in range(length // stride)
                ]
                expected = sum(paid[i - 1] for i in pieces if 1 <= i <= len(paid))
                torch.testing.assert_close(got[head, j - 1], expected, rtol=0, atol=1e-9)


def test_regions_that_complete_one_by_one_are_described_alike():
    prompt = layout("t2 v2x4 t9", "t1 v2x2 t14")
    regions = divide(prompt, Runs(length=4))
    pooler, look = drawn(CompressionPooler(length=6, stride=3)), look_at(prompt)
    with torch.no_grad():
        whole, known = pooler.describe(look, regions), None
        for stop in range(1, prompt.length + 1):
            early = Look(look.query, look.key[:, :, :stop], look.value[:, :, :stop], 0, look.scale)
            now = regions.aligned(regions.owner[:, :stop])
            described = pooler.describe(early, now)
            fresh = regions.last == stop - 1
            known = described if known is None else described.where(fresh, known)
    routed = rows(prompt, regions)
    got, expected = (pooler.score(look, routed, one) for one in (known, whole))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)
    complete = (regions.size > 0) & (regions.last < prompt.length)
    for name, tensor in whole.tensors.items():
        told = complete[:, None].expand(tensor.shape[:3])
        torch.testing.assert_close(known.tensors[name][told], tensor[told], msg=name)


def test_later_members_of_a_block_do_not_count_before_they_come():
    prompt = layout("t12")
    regions = divide(prompt, Runs(length=4))
    pooler, look = drawn(CompressionPooler(length=6, stride=2)), look_at(prompt)
    routed = rows(prompt, regions)
    spoilt = look.key.clone()
    spoilt[:, :, 8:] += 1
    with torch.no_grad():
        before = scored(pooler, look, regions, routed)
        after = scored(pooler, Look(look.query, spoilt, look.value, 0, look.scale), regions, routed)
    assert torch.equal(after[:, :, :11], before[:, :, :11])
    assert not torch.allclose(after[:, :, 11], before[:, :, 11])
    assert (before[:, :, :7] == 0).all(), "no block is complete before token 8"


@pytest.mark.parametrize("length", [4, 2])
def test_a_region_shorter_than_every_block_gets_nothing(length):
    prompt = layout("v1x3 t1")
    regions = divide(prompt, Runs(length=length))
    scores = scored(
        drawn(CompressionPooler(length=4, stride=4)), look_at(prompt), regions, rows(prompt, regions)
    )
    assert scores.isfinite().all()
    torch.testing.assert_close(scores.sum(-1), torch.ones(1, 4, 1, dtype=torch.float64))


def test_summaries_are_means():
    prompt = layout("t1 v2x2 t1")
    look, regions = look_at(prompt), divide(prompt, Runs(length=3))
    pooler = SummaryPooler()
    summary = pooler.entries(pooler.describe(look, regions))
    for region in range(2):
        members = regions.owner[0] == region
        for got, tokens in ((summary.key, look.key), (summary.value, look.value)):
            torch.testing.assert_close(got[:, :, region], tokens[:, :, members].mean(2), rtol=0, atol=1e-9)


def test_blocks_stand_as_entries_of_the_regions_in_which_they_end():
    prompt = layout("t8 / t6")
    regions = divide(prompt, Runs(length=4))
    pooler, look = drawn(CompressionPooler(length=4, stride=2)), look_at(prompt)
    summary = pooler.entries(pooler.describe(look, regions))
    # Blocks 0-3, 2-5 and 4-7 of the first document, 0-3 and 2-5 of the second.
    assert summary.region.tolist() == [[-1, 0, 1, 1, -1, 2, 3, -1]]
    for entry, start in ((1, 0), (2, 2), (3, 4), (5, 8), (6, 10)):
        for kind, got in (("key", summary.key), ("value", summary.value)):
            place, into, out = (getattr(pooler, f"{kind}_{name}") for name in ("place", "into", "out"))
            for head in range(2):
                block = getattr(look, kind)[0, head, start : start + 4] + place[head]
                inner = torch.nn.functional.gelu(block.flatten() @ into[head])
                torch.testing.assert_close(got[0, head, entry], block.mean(0) + inner @ out[head])
