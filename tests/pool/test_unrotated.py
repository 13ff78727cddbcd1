from dataclasses import replace

import pytest
import torch
from transformers import Qwen3Config
from transformers.models.qwen3.modeling_qwen3 import Qwen3RotaryEmbedding, apply_rotary_pos_emb

from gazekit.contracts import Look
from gazekit.partition import GridPartition
from gazekit.pool import LinearGatePooler, MeanPooler, UnrotatedMeanPooler
from gazekit.testing import Runs, divide
from tests.pool.looks import SIZES, drawn, featured, look_at, scored
from tests.scenes import layout, rows


def turned(prompt, factor=1.0, positions=None, dim=16):
    """Keys before RoPE, and the look after it as transformers turns them, scaled as YaRN does."""
    length = prompt.length
    config = Qwen3Config(hidden_size=2 * dim, num_attention_heads=2, num_key_value_heads=1, head_dim=dim)
    plain = torch.randn(1, 3, length, dim, generator=torch.Generator().manual_seed(1))
    place = torch.arange(length)[None] if positions is None else positions
    cos, sin = (factor * field for field in Qwen3RotaryEmbedding(config)(plain, place))
    query, key = apply_rotary_pos_emb(plain[:, :2], plain[:, 2:], cos, sin)
    return plain[:, 2:], Look(query, key, key, 0, 0.25, cos=cos, sin=sin)


@pytest.mark.parametrize("factor", [1.0, 1.3])
def test_what_transformers_turned_is_turned_back(factor):
    prompt = layout("t1 v4x8 t2")
    regions = GridPartition(size=(1, 1, 1))(prompt)
    _, look = turned(prompt, factor)
    # A region of one token: its key comes back as it was, at the place where it stood.
    described = UnrotatedMeanPooler().describe(featured(UnrotatedMeanPooler(), look), regions)
    torch.testing.assert_close(described.tensors["mean"], look.key[:, :, 1:33], rtol=0, atol=2e-6)
    # Tokens that stand at the same place: their mean is the mean of turned keys.
    _, look = turned(prompt, factor, positions=torch.full((1, prompt.length), 7))
    whole = GridPartition(size=(1, 4, 4))(prompt)
    got = UnrotatedMeanPooler().describe(featured(UnrotatedMeanPooler(), look), whole)
    expected = MeanPooler().describe(look, whole)
    torch.testing.assert_close(got.tensors["mean"], expected.tensors["mean"], rtol=0, atol=2e-6)


def test_equal_content_stays_whatever_the_positions():
    prompt = layout("v1x9 t1")
    regions = GridPartition(size=(1, 1, 9))(prompt)
    plain, _ = turned(prompt)
    same = plain[:, :, :1].expand(-1, -1, prompt.length, -1)
    cos, sin = (turned(prompt)[1].cos, turned(prompt)[1].sin)
    query, key = apply_rotary_pos_emb(same, same, cos, sin)
    look = Look(query, key, key, 0, 1.0, cos=cos, sin=sin)
    got = UnrotatedMeanPooler().describe(featured(UnrotatedMeanPooler(), look), regions).tensors["mean"]
    torch.testing.assert_close(got[0, 0, 0], key[0, 0, 4], rtol=0, atol=2e-6, msg="not at the middle of nine")
    mean = MeanPooler().describe(look, regions).tensors["mean"]
    assert mean.norm() < 0.95 * got.norm(), "RoPE cost the mean nothing, so that the test shows nothing"


def test_the_later_one_of_two_is_the_centre():
    prompt = layout("v1x2 t1")
    regions = GridPartition(size=(1, 1, 2))(prompt)
    plain, look = turned(prompt)
    got = UnrotatedMeanPooler().describe(featured(UnrotatedMeanPooler(), look), regions).tensors["mean"]
    mean = plain[:, :, :2].mean(2, keepdim=True)
    _, expected = apply_rotary_pos_emb(mean, mean, look.cos[:, 1:2], look.sin[:, 1:2])
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-6)


def test_it_needs_rotary_positions():
    look = replace(look_at(layout("v2x2 t1")), cos=None, sin=None)
    with pytest.raises(ValueError, match=r"look\.cos must be given.*use MeanPooler"):
        UnrotatedMeanPooler().features(look)


def test_the_gate_does_without_positions():
    prompt = layout("v2x2 t1")
    regions = GridPartition(size=(1, 1, 2))(prompt)
    pooler = LinearGatePooler()
    pooler.bind(SIZES)
    look = replace(look_at(prompt), cos=None, sin=None)
    assert pooler.features(look).shape == (1, 1, 5, 0)
    routed = rows(prompt, regions)
    got, expected = (scored(one, look, regions, routed) for one in (pooler, MeanPooler()))
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-9)


def test_the_gate_asks_with_the_mean_of_a_block():
    prompt = layout("v2x2 t4")
    regions = GridPartition(size=(1, 1, 2))(prompt)
    look, pooler = replace(look_at(prompt), cos=None, sin=None), drawn(LinearGatePooler())
    single = rows(prompt, regions)
    block = replace(single.narrow(0, 1), of=torch.where(single.of >= 0, 0, -1), blocks=True)
    asked = replace(look, query=look.query[:, :, 4:].mean(2, keepdim=True).expand_as(look.query))
    got = scored(pooler, look, regions, block)
    torch.testing.assert_close(got, scored(pooler, asked, regions, single.narrow(0, 1)), rtol=0, atol=1e-9)
    assert not torch.allclose(got, scored(pooler, look, regions, single.narrow(0, 1)))


def test_the_gate_must_hold_what_turns():
    prompt = layout("v2x2 t1")
    with pytest.raises(
        ValueError, match="dim must be at least the 4 channels that RoPE turns, got 3; leave it out"
    ):
        scored(drawn(LinearGatePooler(dim=3)), look_at(prompt), divide(prompt, Runs(length=2)), None)
