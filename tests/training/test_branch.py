"""The dense baseline takes over the steps that gaze took dense, bit for bit."""

import pytest

from gazekit.training import branch, open_steps, read_history
from tests.training.standin import TinyModel, assert_same_weights, stage, train
from tests.training.test_resume import InterruptAt, Interrupted

DENSE = {"name": "dense", "openness": 1.0}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("source")
    train(folder, keep=[2, 4, 5], log_every=1)
    return folder


@pytest.mark.parametrize("step", [2, 4])
def test_branch_equals_dense_from_the_start(step, source, tmp_path):
    assert open_steps(TinyModel(), stage()) == 4
    branch(source, step, tmp_path / "branch", stage(**DENSE))
    branched = TinyModel(seed=8)
    train(tmp_path / "branch", model=branched, stage=stage(**DENSE), log_every=1)
    dense = train(tmp_path / "dense", stage=stage(**DENSE), log_every=1)
    assert_same_weights(branched, dense)
    assert branched.openness_seen == [1.0] * (12 - step)
    last, whole = read_history(tmp_path / "branch"), read_history(tmp_path / "dense")
    assert [row["loss"] for row in last] == [row["loss"] for row in whole[step:]]


def test_branch_goes_on_after_an_interruption(source, tmp_path):
    branch(source, 4, tmp_path / "branch", stage(**DENSE))
    with pytest.raises(Interrupted):
        train(tmp_path / "branch", stage=stage(**DENSE), callbacks=[InterruptAt(4)])
    branched = train(tmp_path / "branch", stage=stage(**DENSE))
    assert_same_weights(branched, train(tmp_path / "dense", stage=stage(**DENSE)))


def test_time_of_the_shared_steps_counts(source, tmp_path):
    import torch

    path = branch(source, 4, tmp_path, stage(**DENSE))
    assert torch.load(path, weights_only=True)["gazekit"]["seconds"] > 0


def test_steps_that_were_not_dense_are_refused(source, tmp_path):
    with pytest.raises(
        ValueError, match=r"openness must be 1 in the steps that both runs share, got 0\.\d+ at the"
    ):
        branch(source, 5, tmp_path, stage(**DENSE))
    with pytest.raises(ValueError, match="and None in the new stage"):
        branch(source, 4, tmp_path, stage())


def test_missing_checkpoint_is_named(source, tmp_path):
    with pytest.raises(
        ValueError, match=r"got 3, there are: 2, 4, 5, 9, 12; keep it with fit_stage\(keep=\[3\]\)"
    ):
        branch(source, 3, tmp_path, stage(**DENSE))


def test_other_stage_is_refused(source, tmp_path):
    with pytest.raises(ValueError, match="differs in weight_decay"):
        branch(source, 4, tmp_path, stage(**DENSE, weight_decay=0.0))


def test_folder_in_use_is_refused(source, tmp_path):
    branch(source, 4, tmp_path, stage(**DENSE))
    with pytest.raises(ValueError, match="folder must not hold checkpoints"):
        branch(source, 4, tmp_path, stage(**DENSE))
