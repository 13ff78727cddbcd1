import pytest
import torch

from gazekit.contracts import Look
from gazekit.partition import GridPartition
from gazekit.pool import MaxPooler, MinMaxPooler, OraclePooler
from gazekit.testing import laws
from tests.pool.looks import look_at, scored
from tests.scenes import layout, rows


@pytest.mark.parametrize("pooler", [MinMaxPooler(), OraclePooler()], ids=lambda one: type(one).__name__)
def test_it_scores_no_region_below_a_member(pooler):
    laws.pool.bounds_its_members(pooler)


def test_a_maximum_alone_is_no_bound():
    with pytest.raises(AssertionError, match="bounds its members"):
        laws.pool.bounds_its_members(MaxPooler())


def test_bounds_by_hand():
    prompt = layout("v1x2 t1")
    key = torch.tensor([[1.0, -2.0], [3.0, 4.0], [0.0, 0.0]])[None, None]
    query = torch.tensor([[0.0, 0.0], [0.0, 0.0], [2.0, -1.0]])[None, None]
    regions = GridPartition(size=(1, 1, 2))(prompt)
    asked = Look(query, key, key, 0, 1.0)
    routed = rows(prompt, regions)
    assert MinMaxPooler().describe(asked, regions).tensors["bounds"].tolist() == [[[[3.0, 4.0, 1.0, -2.0]]]]
    assert scored(MinMaxPooler(), asked, regions, routed).item() == 2 * 3 + 1 * 2
    assert scored(MaxPooler(), asked, regions, routed).item() == 2 * 3 - 1 * 4


def test_the_oracle_ranks_by_what_attention_pays():
    prompt = layout("v4x4 t1")
    regions = GridPartition(size=(1, 2, 3))(prompt)
    look = look_at(prompt)
    keys = look.key.repeat_interleave(look.group, dim=1)
    paid = (look.scale * look.query[:, :, -1:] @ keys.transpose(2, 3)).softmax(-1)[..., :16]
    mass = torch.stack(
        [paid[..., regions.owner[0, :16] == region].sum(-1) for region in range(regions.count)], dim=-1
    )
    logit = look.scale * scored(OraclePooler(), look, regions, rows(prompt, regions))
    torch.testing.assert_close(logit.softmax(-1), mass / mass.sum(-1, keepdim=True), rtol=0, atol=1e-9)


def test_the_oracle_counts_members_as_they_come():
    small, large = layout("t1 v1x2 t1"), layout("t1 v1x2 t1 v2x4 t1")
    pooler, partition = OraclePooler(), GridPartition(size=(1, 2, 4))
    look = look_at(large)
    early = Look(look.query[:, :, :4], look.key[:, :, :4], look.value[:, :, :4], 0, look.scale)
    known = pooler.describe(early, partition(small))
    whole = pooler.describe(look, partition(large))
    merged = whole.where(torch.tensor([[False, True]]), known)
    for name, tensor in whole.tensors.items():
        torch.testing.assert_close(merged.tensors[name], tensor, msg=name)
    # A sample with larger regions may leave the batch.
    stays = known.where(torch.tensor([[False]]), whole)
    assert torch.equal(stays.tensors["key"], whole.tensors["key"][:, :, :1])


@pytest.mark.parametrize("pooler", [MaxPooler(), MinMaxPooler(), OraclePooler()])
def test_gradients_are_those_of_the_definition_even_beside_nan(pooler):
    prompt = layout("t1 v2x3 t2")
    regions = GridPartition(size=(1, 2, 2))(prompt)
    look, routed = look_at(prompt), rows(prompt, regions)

    def score(query, key):
        spoilt = key.masked_fill((regions.owner < 0)[:, None, :, None], torch.nan)
        return scored(pooler, Look(query, spoilt, spoilt, 0, look.scale), regions, routed)[..., :2]

    inputs = (look.query.requires_grad_(), look.key.requires_grad_())
    assert torch.autograd.gradcheck(score, inputs, fast_mode=True)
