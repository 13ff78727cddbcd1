import pytest
import torch

from gazekit.prior import Fixations, IttiKochSaliency, fixation_map, with_prior
from gazekit.prior.itti import _normalised
from tests.scenes import layout


def peak(values: torch.Tensor) -> tuple[int, int]:
    return divmod(int(values.argmax()), values.shape[-1])


def grey(size: int = 128) -> torch.Tensor:
    return torch.full((1, 3, size, size), 0.5)


def test_a_bright_spot_stands_out():
    image = grey()
    image[:, :, 98:110, 20:32] = 1.0
    assert peak(IttiKochSaliency()(image, (8, 8))[0]) == (6, 1)


def test_a_colour_stands_out_where_brightness_does_not():
    image = grey()
    image[:, :, 20:36, 84:100] = torch.tensor([0.9, 0.3, 0.3])[:, None, None]
    assert peak(IttiKochSaliency()(image, (8, 8))[0]) == (1, 5)


def test_another_orientation_stands_out_among_stripes():
    stripes = 0.5 + 0.5 * torch.sin(torch.arange(256) * 2 * torch.pi / 16)
    image = stripes.expand(1, 3, 256, 256).clone()
    image[:, :, 128:176, 64:112] = stripes[:48, None].expand(3, 48, 48)
    orientation = IttiKochSaliency()._conspicuities(image)[2]
    cells = torch.nn.functional.adaptive_avg_pool2d(orientation, (8, 8))[0]
    assert peak(cells) in {(4, 2), (4, 3), (5, 2), (5, 3)}


def test_green_stands_out_from_red_of_the_same_brightness():
    """Opponency: what is red and what is green differ, though there is as much of a hue in both."""
    image = torch.tensor([0.6, 0.2, 0.2])[:, None, None].expand(3, 128, 128).clone()[None]
    image[:, :, 32:96, 32:96] = torch.tensor([0.2, 0.6, 0.2])[:, None, None]
    colour = IttiKochSaliency()._conspicuities(image)[1][0]
    assert colour[12:20, 12:20].mean() > 0.5 * colour.amax()


def test_the_operator_takes_the_squared_distance_of_the_peak_from_the_others():
    field = torch.zeros(3, 9, 9)
    field[:, 1, 1] = 2.0
    field[1, 6, 6] = 1.0
    field[2, 6, 6] = 2.0
    assert _normalised(field)[:, 1, 1].tolist() == [1.0, 0.25, 0.0]


def test_one_odd_thing_beats_many_alike():
    """The normalising operator: a lone spot is more salient than each of many equal ones."""
    image = grey(256)
    for y in range(16, 240, 32):
        image[:, :, y : y + 8, 16:24] = 0.9
    lone = grey(256)
    lone[:, :, 112:120, 16:24] = 0.9
    saliency = IttiKochSaliency()._conspicuities
    many, one = (saliency(picture)[0].amax() for picture in (image, lone))
    assert one > many


def test_nothing_stands_out_on_an_even_image_and_units_do_not_mix():
    spot = grey()
    spot[:, :, 8:20, 8:20] = 1.0
    both = IttiKochSaliency()(torch.cat([grey(), spot]), (4, 6))
    assert both[0].tolist() == torch.zeros(4, 6).tolist()
    assert torch.equal(both[1:], IttiKochSaliency()(spot, (4, 6)))
    assert float(both.max()) == 1.0


def test_small_images_have_saliency_of_fewer_levels():
    image = grey(24)
    image[:, :, 4:8, 16:20] = 1.0
    assert peak(IttiKochSaliency()(image, (3, 3))[0])[1] == 2
    assert IttiKochSaliency()(grey(4), (2, 2)).sum() == 0


@pytest.mark.parametrize("bad", [{"centers": ()}, {"deltas": (0,)}, {"centers": (-1,)}])
def test_refuses_levels_that_are_none(bad):
    with pytest.raises(
        ValueError, match="centers must be levels of at least 0 and deltas steps of at least 1"
    ):
        IttiKochSaliency(**bad)


def test_refuses_no_orientation():
    with pytest.raises(ValueError, match="num_orientations must be at least 1, got 0"):
        IttiKochSaliency(num_orientations=0)


def seen(x, y, duration, unit=None):
    return Fixations(*(torch.tensor(values) for values in (x, y, duration)), unit)


def test_a_fixation_is_a_gaussian_around_its_place():
    values = fixation_map(seen([0.375], [0.625], [2.0]), (4, 4), sigma=0.25)[0]
    assert values[2, 1] == 1.0
    expected = torch.exp(torch.tensor(-0.5))
    for y, x in ((1, 1), (3, 1), (2, 0), (2, 2)):
        torch.testing.assert_close(values[y, x], expected)


def test_longer_fixations_weigh_more_and_units_are_apart():
    trace = seen([0.1, 0.9, 0.9], [0.1, 0.9, 0.1], [1.0, 3.0, 1.0], torch.tensor([0, 0, 2]))
    values = fixation_map(trace, (5, 5), num_units=3)
    assert values[0, 4, 4] == 1.0
    torch.testing.assert_close(values[0, 0, 0], torch.tensor(1 / 3))
    assert values[1].sum() == 0
    assert values[2, 0, 4] == 1.0


def test_refuses_what_is_no_trace():
    trace = seen([0.5], [0.5], [1.0])
    with pytest.raises(ValueError, match="sigma must be above 0, got 0"):
        fixation_map(trace, (2, 2), sigma=0.0)
    with pytest.raises(ValueError, match="duration must be at least 0"):
        fixation_map(seen([0.5], [0.5], [-1.0]), (2, 2))
    with pytest.raises(ValueError, match="unit must be from 0 to below num_units = 1, got 1 to 1"):
        fixation_map(seen([0.5], [0.5], [1.0], torch.tensor([1])), (2, 2))


def test_a_map_is_written_to_the_tokens_of_its_unit():
    prompt = layout("t1 v2x2 +2x2 t1", "t2 v1x3")
    told = with_prior(prompt, {(0, 1): torch.tensor([[1.0, 2.0], [3.0, 4.0]]), (1, 0): torch.ones(1, 3)})
    assert told.prior.tolist() == [[0, 0, 0, 0, 0, 1, 2, 3, 4, 0], [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]]


def test_refuses_a_map_of_nothing_and_one_of_another_size():
    prompt = layout("t1 v2x3 t1")
    with pytest.raises(ValueError, match="maps must be of units that the layout has, got unit 4 of sample 0"):
        with_prior(prompt, {(0, 4): torch.ones(2, 3)})
    with pytest.raises(ValueError, match=r"must have 2 rows and 3 columns .* ask for grid=\(2, 3\)"):
        with_prior(prompt, {(0, 0): torch.ones(3, 2)})
