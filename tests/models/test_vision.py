import pytest
import torch
from transformers import SiglipVisionModel

from gazekit.models import AverageCompressor, ConvCompressor, Projector, VisionTower
from tests.models.tiny import make_config, make_model


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def tower(**fields):
    torch.manual_seed(0)
    return VisionTower(make_config(**fields)).eval()


def test_last_layer_is_after_the_norm(pixels):
    one = tower(image_tiles=(1, 1), image_size=16)
    out = one.model(pixels[..., :16, :16]).last_hidden_state
    torch.testing.assert_close(one(pixels[..., :16, :16]).flatten(1, 2), out, rtol=0, atol=0)


@pytest.mark.parametrize("layer", [-1, -2])
def test_earlier_layers_have_no_norm(pixels, layer):
    one = tower(image_tiles=(1, 1), image_size=16, vision_layer=layer)
    hidden = one.model.embeddings(pixels[..., :16, :16])
    for block in one.model.encoder.layers[: 3 + layer]:
        hidden = block(hidden, attention_mask=None)
    torch.testing.assert_close(one(pixels[..., :16, :16]).flatten(1, 2), hidden)


def test_the_penultimate_block_is_not_the_last():
    one = tower(vision_layer=-2)
    assert len(one.model.encoder.layers) == 2


def test_each_tile_sees_only_itself_and_lies_where_it_was_cut(pixels):
    one = tower()
    whole = one(pixels)
    assert whole.shape == (3, 4, 4, 16)
    for y in range(2):
        for x in range(2):
            tile = pixels[..., 16 * y : 16 * y + 16, 16 * x : 16 * x + 16]
            alone = one.model(tile).last_hidden_state.view(3, 2, 2, 16)
            torch.testing.assert_close(whole[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2], alone)


def test_rectangular_tiles():
    one = tower(image_tiles=(1, 3))
    assert one(torch.randn(2, 3, 16, 48)).shape == (2, 2, 6, 16)


def test_other_image_sizes_stretch_the_position_embedding():
    one = tower(image_tiles=(1, 1), image_size=32)
    pixels = torch.randn(1, 3, 32, 32)
    out = one.model(pixels, interpolate_pos_encoding=True).last_hidden_state
    torch.testing.assert_close(one(pixels).flatten(1, 2), out)


def test_wrong_pixels_are_refused(pixels):
    with pytest.raises(
        ValueError, match=r"images of 32 x 32 pixels, got 16 x 32; prepare them with CambrianProcessor"
    ):
        tower()(pixels[..., :16, :])


def test_convolution_starts_as_the_mean():
    grid = torch.randn(2, 6, 4, 5)
    torch.testing.assert_close(ConvCompressor(dim=5)(grid), AverageCompressor()(grid))


def test_average_is_of_neighbours():
    grid = torch.arange(16.0).view(1, 4, 4, 1)
    assert AverageCompressor()(grid).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_compressed_model_starts_as_the_averaging_one():
    average, conv = make_model(compressor="average"), make_model(compressor="conv2x2")
    conv.load_state_dict(average.state_dict(), strict=False)
    pixels = torch.randn(1, 2, 3, 32, 32)
    torch.testing.assert_close(conv.embed_units(pixels), average.embed_units(pixels))
    assert average.num_visual_tokens == 4
    assert [len(model.parts()["compressor"]) for model in (average, conv)] == [0, 2]


def test_projector_is_two_layers_with_an_exact_gelu():
    one = Projector(in_dim=4, out_dim=6, grid=(2, 2), place_embedding=False)
    grid = torch.randn(1, 2, 2, 4)
    middle = grid @ one.first.weight.T + one.first.bias
    middle = middle * 0.5 * (1 + torch.erf(middle / 2**0.5))
    torch.testing.assert_close(one(grid), middle @ one.second.weight.T + one.second.bias)


def test_projector_keeps_the_initialisation_of_linear_layers():
    weight = make_model().projector.first.weight.detach()
    bound = weight.shape[1] ** -0.5
    assert weight.abs().max() <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.1)


def test_place_embedding_adds_a_row_and_a_column():
    one = Projector(in_dim=4, out_dim=6, grid=(2, 3), place_embedding=True)
    bare = Projector(in_dim=4, out_dim=6, grid=(2, 3), place_embedding=False)
    bare.load_state_dict(one.state_dict(), strict=False)
    grid = torch.randn(1, 2, 3, 4)
    added = one(grid) - bare(grid)
    torch.testing.assert_close(added[0, 1, 2], one.row.weight[1] + one.column.weight[2], atol=1e-5, rtol=0)


def test_checkpoints_of_a_stock_tower_fit(tmp_path):
    torch.manual_seed(1)
    stock = SiglipVisionModel(make_config().vision_config)
    stock.save_pretrained(tmp_path)
    one = tower()
    one.model.load_state_dict(SiglipVisionModel.from_pretrained(tmp_path).state_dict())
    tile = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(one.model(tile).last_hidden_state, stock.eval()(tile).last_hidden_state)
