"""What torchmetrics does with metrics: copies, files, collections, dtypes, devices, values of a batch."""

import copy
import pickle

import pytest
import torch
from torchmetrics import MetricCollection

from gazekit.evaluate.human import gaze_map, gaze_scanpath, scanmatch
from tests.evaluate.samples import METRICS, figures

each = pytest.mark.parametrize("name", METRICS)


class Passing:
    """Stands for a metric whose updates are handed on."""

    def __init__(self, hand_on) -> None:
        self.update = hand_on


def whole(name):
    make, add = METRICS[name]
    metric = make()
    add(metric, [0, 1, 2])
    return metric


@each
def test_copies_and_files_hold_what_was_seen(name):
    make, add = METRICS[name]
    expected = repr(figures(whole(name)))
    assert repr(figures(pickle.loads(pickle.dumps(whole(name))))) == expected
    assert repr(figures(copy.deepcopy(whole(name)))) == expected
    before, after = make(), make()
    for metric in (before, after):
        metric.persistent(True)
    add(before, [0, 1])
    after.load_state_dict(before.state_dict())
    add(after, [1, 2])
    assert repr(figures(after)) == expected


@each
def test_a_call_gives_the_batch_and_keeps_the_whole(name):
    make, add = METRICS[name]
    metric, batches = make(), []
    step = Passing(lambda *args, **named: batches.append(metric(*args, **named)))
    for samples in ([0, 1], [1, 2]):
        add(step, samples)
    assert repr(figures(metric)) == repr(figures(whole(name)))
    if name != "maps":  # which are added one by one
        alone = make()
        add(alone, [1, 2])
        said = {key: torch.as_tensor(value).tolist() for key, value in batches[-1].items()}
        assert repr(said) == repr(figures(alone))


@each
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_fewer_bits_do_not_mix_samples_up(name, dtype):
    make, add = METRICS[name]
    metric = make()
    add(metric, [0, 1])
    metric.set_dtype(dtype)
    add(metric.half(), [2])
    assert repr(figures(metric)) == repr(figures(whole(name)))


@each
def test_a_collection_says_what_its_metrics_say(name):
    make, add = METRICS[name]
    pair = MetricCollection({"one": make(), "other": make()})
    add(Passing(pair.update), [0, 1])
    add(Passing(pair.update), [2])
    said = pair.compute()
    for key, value in figures(whole(name)).items():
        for prefix in ("one", "other"):
            found = torch.as_tensor(said[f"{prefix}_{key}"]).double()
            assert torch.allclose(found, torch.tensor(value).double(), equal_nan=True)


@each
@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_what_was_forgotten_is_forgotten(name):
    make, add = METRICS[name]
    metric = make()
    add(metric, [4])
    metric.reset()
    assert len(metric.rows()["key"]) == 0
    add(metric, [0, 1, 2])
    assert repr(figures(metric)) == repr(figures(whole(name)))


@pytest.mark.gpu
@each
def test_metrics_on_a_gpu_say_the_same(name):
    make, add = METRICS[name]
    metric = make().cuda()
    moved = lambda one: one.cuda() if isinstance(one, torch.Tensor) else one  # noqa: E731
    add(
        Passing(
            lambda *args, **named: metric.update(
                *map(moved, args), **{key: moved(value) for key, value in named.items()}
            )
        ),
        [0, 1, 2],
    )
    assert figures(metric) == figures(whole(name))


@pytest.mark.gpu
def test_choices_on_the_cpu_and_regions_on_a_gpu_make_maps_and_paths():
    index = torch.tensor([[0], [1]])
    box = torch.tensor([[[0, 1], [0, 2], [0, 2]], [[0, 1], [0, 2], [2, 4]]])
    assert gaze_map(index, box.cuda(), (4, 8)).equal(gaze_map(index, box, (4, 8)))
    path = gaze_scanpath(index, box.cuda())
    assert path.place.equal(gaze_scanpath(index, box).place)
    assert scanmatch(path, path) == 1.0
