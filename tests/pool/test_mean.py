import pytest
import torch

from gazekit.contracts import Look, Pooler
from gazekit.kernels import native
from gazekit.partition import GridPartition
from gazekit.pool import MeanPooler
from tests.scenes import layout, rows


def look(prompt, heads=2, kv_heads=1, dim=8, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = lambda count: (prompt.clip.shape[0], count, prompt.length, dim)  # noqa: E731
    query, key = (torch.randn(shape(n), generator=generator).to(dtype) for n in (heads, kv_heads))
    return Look(query=query, key=key, value=key, layer=0, scale=1.0)


def test_means_by_hand():
    prompt = layout("t1 v1x4")
    key = torch.tensor([[9.0, 9.0], [1.0, 0.0], [3.0, 2.0], [0.0, 4.0], [0.0, 8.0]])[None, None]
    regions = GridPartition(size=(1, 1, 2))(prompt)
    described = MeanPooler().describe(Look(key, key, key, 0, 1.0), regions)
    assert described.tensors["mean"].tolist() == [[[[2.0, 1.0], [0.0, 6.0]]]]


def test_scores_by_hand_share_the_means_within_a_group():
    prompt = layout("v1x4 t1")
    key = torch.tensor([[1.0, 0.0], [3.0, 2.0], [0.0, 4.0], [0.0, 8.0], [7.0, 7.0]])[None, None]
    query = torch.zeros(1, 2, 5, 2)
    query[0, :, 4] = torch.tensor([[1.0, 1.0], [-1.0, 0.5]])
    regions = GridPartition(size=(1, 1, 2))(prompt)
    asked, pooler = Look(query, key, key, 0, 1.0), MeanPooler()
    scores = pooler.score(asked, rows(prompt, regions), pooler.describe(asked, regions))
    assert scores.tolist() == [[[[3.0, 6.0]], [[-1.5, 3.0]]]]


def test_heads_of_a_group_use_their_own_kv_head():
    prompt = layout("v4x4 t3")
    regions = GridPartition(size=(1, 2, 2))(prompt)
    asked, pooler = look(prompt, heads=6, kv_heads=2), MeanPooler()
    routed = rows(prompt, regions)
    scores = pooler.score(asked, routed, pooler.describe(asked, regions))
    for head in range(6):
        for row in range(3):
            for region in range(4):
                mean = asked.key[0, head // 3, regions.owner[0] == region].mean(0)
                expected = asked.query[0, head, routed.query[0, row]] @ mean
                torch.testing.assert_close(scores[0, head, row, region], expected)


@pytest.mark.parametrize("left", [False, True])
def test_padding_changes_no_bit_even_where_it_is_nan(left):
    samples = ["t1 v3x5 t2", "v4x6 t3", "t2"]
    batch = layout(*samples, left=left)
    asked, pooler, partition = look(batch, kv_heads=2), MeanPooler(), GridPartition(size=(1, 2, 2))
    real = batch.tokens.valid[:, 0]
    key = asked.key.masked_fill(~real[:, None, :, None], float("nan"))
    together = pooler.describe(Look(asked.query, key, key, 0, 1.0), partition(batch)).tensors["mean"]
    for index, sample in enumerate(samples):
        own = key[index : index + 1, :, real[index]]
        alone = pooler.describe(Look(own, own, own, 0, 1.0), partition(layout(sample))).tensors["mean"]
        assert torch.equal(together[index : index + 1, :, : alone.shape[2]], alone)


def test_means_lie_between_the_extremes_and_a_constant_stays():
    prompt = layout("v5x5")
    regions = GridPartition(size=(1, 2, 3))(prompt)
    asked = look(prompt)
    mean = MeanPooler().describe(asked, regions).tensors["mean"]
    for region in range(regions.count):
        members = asked.key[0, 0, regions.owner[0] == region]
        assert (mean[0, 0, region] <= members.amax(0) + 1e-6).all()
        assert (mean[0, 0, region] >= members.amin(0) - 1e-6).all()
    constant = torch.full_like(asked.key, 0.25)
    assert (
        MeanPooler().describe(Look(constant, constant, constant, 0, 1.0), regions).tensors["mean"] == 0.25
    ).all()


@pytest.mark.parametrize(
    ("dtype", "wide"),
    [(torch.bfloat16, torch.float32), (torch.float16, torch.float32), (torch.float64, torch.float64)],
)
def test_means_and_scores_are_fp32_or_wider(dtype, wide):
    prompt = layout("v4x4 t2")
    regions = GridPartition(size=(1, 4, 4))(prompt)
    asked, pooler = look(prompt, dtype=dtype), MeanPooler()
    described = pooler.describe(asked, regions)
    scores = pooler.score(asked, rows(prompt, regions), described)
    assert described.tensors["mean"].dtype == scores.dtype == wide
    exact = asked.key[0, 0, :16].double().mean(0)
    torch.testing.assert_close(described.tensors["mean"][0, 0, 0].double(), exact, rtol=1e-6, atol=1e-6)


def test_members_may_stand_elsewhere_than_in_the_layout():
    prompt = layout("t2 v2x4")
    regions = GridPartition(size=(1, 2, 2))(prompt)
    asked, order = look(prompt), torch.tensor([5, 9, 2, 0, 7, 4, 3, 8, 6, 1])
    moved = Look(asked.query, asked.key[:, :, order], asked.value, 0, 1.0)
    mean = MeanPooler().describe(asked, regions).tensors["mean"]
    shuffled = MeanPooler().describe(moved, regions.aligned(regions.owner[:, order])).tensors["mean"]
    torch.testing.assert_close(shuffled, mean)


def test_no_region_gives_no_descriptor():
    prompt = layout("t3")
    regions, asked, pooler = GridPartition(size=(1, 2, 2))(prompt), look(prompt), MeanPooler()
    described = pooler.describe(asked, regions)
    assert described.tensors["mean"].shape == (1, 1, 0, 8)
    assert pooler.score(asked, rows(prompt, regions), described).shape == (1, 2, 3, 0)


def test_descriptors_can_learn():
    prompt = layout("v2x2 t1")
    regions, asked, pooler = (
        GridPartition(size=(1, 1, 2))(prompt),
        look(prompt, dtype=torch.float64),
        MeanPooler(),
    )
    routed = rows(prompt, regions)

    def scored(query, key):
        given = Look(query, key, key, 0, 1.0)
        return pooler.score(given, routed, pooler.describe(given, regions))

    inputs = (asked.query.requires_grad_(), asked.key.requires_grad_())
    assert torch.autograd.gradcheck(scored, inputs)


def test_it_is_a_pooler():
    assert isinstance(MeanPooler(), Pooler)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_single_query_is_scored_alike_by_the_native_kernel(dtype, monkeypatch, native_kernel):
    prompt = layout("v4x4 t1")
    regions = GridPartition(size=(1, 2, 2))(prompt)
    asked, pooler = look(prompt, heads=6, kv_heads=2, dim=32, dtype=dtype), MeanPooler()
    described = pooler.describe(asked, regions)
    last = Look(query=asked.query[:, :, -1:], key=asked.key, value=asked.value, layer=0, scale=1.0)
    one = rows(prompt, regions).narrow(0, 1)
    one = type(one)(
        of=one.of[:, -1:], query=one.query * 0, first=one.first, owner=one.owner, document=one.document
    )
    used, scores = [], native.scores
    monkeypatch.setattr(native, "scores", lambda *given: used.append(given) or scores(*given))
    found = pooler.score(last, one, described)
    assert used
    monkeypatch.setattr(native, "serves", lambda *tensors: False)
    expected = pooler.score(last, one, described)
    assert found.dtype == expected.dtype == torch.float32
    torch.testing.assert_close(found, expected)
