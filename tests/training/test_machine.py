"""What a run is spread over, and what recipes say of it."""

from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch.distributed.device_mesh import DeviceMesh

from gazekit.recipe import check, load
from gazekit.recipe.assemble import assemble, pretrain
from gazekit.recipe.train import keep_recipe
from gazekit.recipe.train import train as start
from gazekit.training import CambrianModule, Machine, history
from gazekit.training.checkpoints import SameStart
from gazekit.training.failure import explained, of_another
from gazekit.training.fit import check_same_processes
from gazekit.training.optimizers import begin_states
from gazekit.training.session import device_arguments
from gazekit.training.shard import layers_of, shard
from tests.scenes import unchecked
from tests.training.standin import TinyModel, stage, train
from tests.training.test_cambrian import make
from tests.training.test_cambrian import stage as cambrian_stage


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"strategy": "deepspeed"},
            "strategy must be one of auto, ddp, fsdp2, got 'deepspeed'; fsdp2 is the one",
        ),
        ({"devices": 0}, "devices must be at least 1, or auto for all there are, got 0"),
        ({"devices": "all"}, "devices must be at least 1, or auto for all there are, got 'all'"),
        ({"num_nodes": 0}, "num_nodes must be at least 1, got 0"),
        ({"timeout": 0}, "timeout must be above 0 seconds, got 0"),
        ({"peak_tflops": -1}, "peak_tflops must be above 0, got -1; leave it out"),
    ],
)
def test_wrong_fields_are_refused(fields, message):
    with unchecked(), pytest.raises(ValueError, match=message):
        Machine(**fields)


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}


def test_processes_that_a_launcher_has_started():
    assert Machine(devices="auto", num_nodes=2).total(1, TORCHRUN) == 8
    assert Machine(devices=4, num_nodes=2).total(1, TORCHRUN) == 8
    with pytest.raises(
        ValueError, match=r"devices must be the number .*, 4, got 2; write training.devices=4"
    ):
        Machine(devices=2).total(1, TORCHRUN)
    with pytest.raises(
        ValueError, match=r"num_nodes must be .*, 8 in all, got 1; write training.num_nodes=2"
    ):
        Machine(devices="auto").total(1, TORCHRUN)
    slurm = {"SLURM_NTASKS_PER_NODE": "8", "SLURM_JOB_NAME": "train"}
    assert Machine(devices="auto", num_nodes=4).total(1, slurm) == 32
    assert Machine(devices="auto").total(1, {**slurm, "SLURM_JOB_NAME": "bash"}) == 1
    assert Machine(devices="auto").total(6, {}) == 6
    assert Machine().total(6, {}) == 1


def test_strategies_as_lightning_has_them():
    ddp = device_arguments("cpu", Machine(devices=2, timeout=60))["strategy"]
    assert type(ddp).__name__ == "DDPStrategy"
    assert ddp._timeout.total_seconds() == 60
    assert not ddp._ddp_kwargs.get("find_unused_parameters", False)
    told = device_arguments("cpu", Machine(strategy="fsdp2", devices=2, num_nodes=2), "bf16-mixed")
    assert type(told["strategy"]).__name__ == "ModelParallelStrategy"
    assert told["strategy"]._data_parallel_size == 4
    assert (told["devices"], told["num_nodes"], told["precision"]) == (2, 2, "32-true")


def test_recipes_say_what_training_is_spread_over():
    recipe = load("tiny", ["training.strategy=fsdp2", "training.devices=8", "training.num_nodes=2",
                           "training.stages.1.optimizer=adamw", "training.precision=bf16-mixed"])  # fmt: skip
    training = recipe.build("training")
    assert training.machine == Machine(strategy="fsdp2", devices=8, num_nodes=2)
    assert [one.precision for one in training.trained] == ["bf16-mixed"] * 2
    assert [one.precision for one in training.stages] == ["32-true"] * 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.strategy=fsdp3", "fsdp2"),
        (
            "training.devices=3",
            "devices times num_nodes must divide the batch of every stage, got 3 x 1 for 'align'",
        ),
        ("training.num_nodes=0", "num_nodes must be at least 1, got 0"),
        (
            "training.strategy=fsdp2",
            "strategy must be ddp for 'tune', whose optimizer muon needs whole matrices",
        ),
        ("training.timeout=0", "timeout must be above 0 seconds"),
        ("training.precision=fp8", "bf16-mixed"),
        ("training.device=2", "devices"),
    ],
)
def test_check_finds_what_cannot_be_spread(override, message):
    faults = check("tiny", [override])
    assert any(message in str(fault) for fault in faults), faults


def test_sharded_needs_adamw_and_no_average():
    for change, named in (("ema=0.9", "moving average"), ("precision=16-mixed", "precision is 16-mixed")):
        overrides = [
            "training.strategy=fsdp2",
            "training.stages.1.optimizer=adamw",
            f"training.stages.1.{change}",
        ]
        assert any(named in str(fault) for fault in check("tiny", overrides))


def test_a_run_may_be_spread_anew_but_not_changed(tmp_path):
    keep_recipe(load("tiny"), tmp_path)
    keep_recipe(load("tiny", ["training.devices=2", "training.timeout=5"]), tmp_path)
    keep_recipe(load("tiny"), tmp_path, write=False)
    assert "devices: 2" in (tmp_path / "recipe.yaml").read_text()
    with pytest.raises(ValueError, match="holds the run of another recipe"):
        keep_recipe(load("tiny", ["seed=3"]), tmp_path)


def test_other_processes_are_refused(tmp_path):
    was, now = {"processes": 2, "sharded": True}, {"processes": 1, "sharded": False}
    check_same_processes(was, was, tmp_path)
    check_same_processes({}, now, tmp_path)
    wanted = (
        "a run in 2 processes, sharded, and this one is in one process: it would not go on with the same batches; "
        "start it with training.strategy=fsdp2 and 2 devices over all nodes"
    )
    with pytest.raises(ValueError, match=wanted):
        check_same_processes(was, now, tmp_path)


def test_what_another_process_has_done_is_explained():
    two = Mock(spec=Trainer, world_size=2, global_rank=1, global_step=7)
    for error in (
        RuntimeError("[../gloo/pair.cc] Connection closed by peer"),
        torch.distributed.DistNetworkError("x"),
    ):
        assert of_another(error)
        wanted = r"process 1 of 2 stopped in step 7.*within 5 seconds"
        with pytest.raises(RuntimeError, match=wanted), explained(two, 5):
            raise error
    with pytest.raises(RuntimeError, match=r"^shapes differ$"), explained(two, 5):
        raise RuntimeError("shapes differ")


def test_towers_are_pretrained_in_one_process(tmp_path):
    two = load("tiny", ["training.devices=2"])
    with pytest.raises(
        ValueError, match=r"devices must be 1 while the recipe tiny pretrains its tower; train it once"
    ):
        pretrain(two, assemble(two), tmp_path, device="cpu")


def test_a_launched_run_is_not_started_afresh_over_another(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    (tmp_path / "recipe.yaml").write_text("name: other")
    with pytest.raises(
        ValueError, match="out must be a new folder where a launcher starts all processes at once"
    ):
        start(load("tiny"), out=tmp_path, resume=False, device="cpu")


def test_processes_must_find_the_same_checkpoint(monkeypatch):
    def gather(found, own):
        found[:] = [own, None]

    monkeypatch.setattr(torch.distributed, "all_gather_object", gather)
    two = Mock(spec=Trainer, world_size=2)
    SameStart(None).setup(two, Mock(spec=LightningModule), "fit")
    wanted = r"one folder for all nodes.*\(process 0: step-00000003.ckpt, process 1: nothing\)"
    with pytest.raises(ValueError, match=wanted):
        SameStart(Path("x/step-00000003.ckpt")).setup(two, Mock(spec=LightningModule), "fit")


def test_shares_need_an_image_where_the_model_is_not_ours():
    module = CambrianModule(TinyModel(), stage(), verbose=False)
    module._whole = [module.model]
    module._check_units({"pixel_values": torch.zeros(1)})
    with pytest.raises(
        ValueError, match="pixel_values must be in every batch of every device where a TinyModel"
    ):
        module._check_units({"input_ids": torch.zeros(1)})


def test_shares_have_no_such_precision():
    with pytest.raises(ValueError, match=r"precision must be one of 32-true, .* under fsdp2, got '16-mixed'"):
        shard(TinyModel(), Mock(spec=DeviceMesh), "16-mixed")


def test_muon_cannot_be_sharded():
    muon = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))])
    with pytest.raises(ValueError, match="optimizer must be adamw where the model is sharded"):
        begin_states(muon)


def test_layers_are_compiled_one_by_one(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda layer: compiled.append(layer))
    cambrian = make()
    module = CambrianModule(cambrian.model, cambrian_stage(), verbose=False, compiled=True)
    module.configure_model()
    module.configure_model()
    assert compiled == layers_of(cambrian.model)
    assert {type(one).__name__ for one in compiled} == {"Qwen3DecoderLayer", "SiglipEncoderLayer"}


def test_wandb_where_a_project_is_named(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(history, "find_spec", lambda name: object() if name == "wandb" else None)
    monkeypatch.setattr(
        "lightning.pytorch.loggers.WandbLogger", lambda **given: made.append(given) or CSVLogger(tmp_path)
    )
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    assert len(history.loggers(tmp_path / "run" / "1-all", 1)) == 1
    monkeypatch.setenv("WANDB_PROJECT", "eyes")
    history.loggers(tmp_path / "run" / "1-all", 1)
    assert made[0]["project"] == "eyes"
    assert (made[0]["group"], made[0]["name"]) == ("run/1-all", "run/1-all-0")


def test_average_of_shares_is_refused(tmp_path):
    with pytest.raises(ValueError, match="ema must be null where the model is sharded"):
        train(tmp_path, model=TinyModel(), stage=stage(ema=0.9), machine=Machine(strategy="fsdp2"))
