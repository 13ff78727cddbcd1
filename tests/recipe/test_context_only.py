"""The recipe that trains context tokens alone, scaled down, on a tiny random VLM that lies in a folder."""

import pytest
import torch
from transformers import AutoModelForImageTextToText, Qwen2VLImageProcessorPil

from gazekit.data.batches import EncodeConversations
from gazekit.data.digits import DigitsDataset, DigitsTokenizer, ManyQuestions, MosaicSpec
from gazekit.models import load_processor, make_processor
from gazekit.models.retrofit import Conversations, TrainableRetrofit, apply_gaze, context_rows
from gazekit.recipe import check, load
from gazekit.recipe.assemble import assemble, data_for
from gazekit.recipe.train import train
from gazekit.training import fit_stage, read_history
from tests.models.retrofit.qwen_small import make_qwen

SMALL = [
    "model.dtype=float32",
    "data.mosaic={cell: 16, scan: 13.0, jitter: 3.0}",
    "data.questions={_target_: gazekit.data.ManyQuestions, turns: 2}",
    "gaze.route.k=1",
    "gaze.context.num_tokens=2",
    "training.stages.0.batch_size=4",
    "training.stages.0.gradient_checkpointing=false",
]


@pytest.fixture(scope="module")
def stock(tmp_path_factory):
    """The folder of a model that someone else has trained."""
    folder = tmp_path_factory.mktemp("stock")
    tokenizer = DigitsTokenizer().make()
    pixels = {"shortest_edge": 32 * 32, "longest_edge": 32 * 32}
    processor = make_processor(
        "Qwen2_5_VLProcessor",
        image_processor=Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, size=pixels),
        tokenizer=tokenizer,
        video={"patch_size": 4},
        arguments={"chat_template": tokenizer.chat_template},
    )
    model, processor = make_qwen(processor=processor, sharpness=8.0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def recipe(stock, *more: str):
    return load("retrofit/context_only", [f"model.pretrained={stock}", *SMALL, *more])


@pytest.fixture(scope="module")
def run(stock, tmp_path_factory):
    """A finished run: its folder, and the folder of its model."""
    out = tmp_path_factory.mktemp("run")
    chosen = recipe(stock, "training.stages.0.steps=50", "training.stages.0.checkpoint_every=25")
    made, (stage,) = assemble(chosen), chosen.build("training").stages
    fit_stage(
        made.model, data_for(chosen, made, stage), stage, out, device="cpu", progress=False, log_every=1
    )
    made.model.save_pretrained(out / "model")
    made.processor.save_pretrained(out / "model")
    return out, out / "model"


def loss_of(model, processor, start: int) -> float:
    """Mean loss over supervised tokens of samples that were never trained on, at the target."""
    spec = MosaicSpec(cell=16, scan=13.0, jitter=3.0)
    data = DigitsDataset(split="validation", plan=ManyQuestions(turns=2), length=16, start=start, spec=spec)
    batch = EncodeConversations(Conversations(processor))(data.__getitems__(range(16)))
    with torch.no_grad():
        return float(TrainableRetrofit(model)(**batch, gaze_openness=0.0).loss)


def test_the_recipe_is_sound():
    assert check("retrofit/context_only") == []
    assert check("retrofit/context_only", ["model.lora.rank=8"]) == []
    (fault,) = check("retrofit/context_only", ["model.lora.rang=8"])
    assert "rank" in str(fault)


def test_the_loss_falls_while_the_routing_closes(run):
    """No sample comes twice, so that the last steps' loss is one on fresh batches."""
    rows = read_history(run[0])
    loss = [row["loss"] for row in rows]
    assert len(loss) == 50
    assert sum(loss[-10:]) / 10 < sum(loss[:10]) / 10 - 0.1
    assert (rows[0]["openness"], rows[-1]["openness"]) == (1, 0)
    assert rows[-1]["k"] == 1


def test_the_saved_model_opens_as_the_stock_one_and_with_gaze_has_learned(stock, run):
    model = AutoModelForImageTextToText.from_pretrained(run[1])
    assert type(model).__module__.startswith("transformers.")
    processor = load_processor(run[1])
    model = apply_gaze(model, processor=processor).eval()
    untrained = assemble(recipe(stock))
    before = loss_of(untrained.model.fold().eval(), untrained.processor.processor, 100)
    assert loss_of(model, processor, 100) < before - 0.2
    image = DigitsDataset(split="test", plan=None, length=1)[0].mosaic.picture
    inputs = processor(text=["<|image_pad|> read row 2"], images=[[image]], return_tensors="pt")
    assert torch.isin(inputs["input_ids"], torch.tensor(model.config.gaze_context_ids)).sum() == 2
    said = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert said.shape[1] > inputs["input_ids"].shape[1]


def test_every_other_parameter_is_bit_identical(stock, run):
    before = AutoModelForImageTextToText.from_pretrained(stock)
    after = AutoModelForImageTextToText.from_pretrained(run[1])
    ids = after.config.gaze_context_ids
    old, new = before.state_dict(), after.state_dict()
    assert old.keys() == new.keys()
    for name, weight in new.items():
        assert torch.equal(weight[: len(old[name])], old[name]), name
        assert len(weight) - len(old[name]) in (0, len(ids))
    untrained = assemble(recipe(stock)).model.fold()
    moved = (context_rows(after) - context_rows(untrained)).abs().amax(-1)
    assert bool((moved > 0.01).all())


def test_adapters_train_beside_them_and_are_merged(stock, tmp_path):
    pytest.importorskip("peft")
    chosen = recipe(stock, "model.lora.rank=2", "training.stages.0.steps=3", "training.stages.0.warmup=0")
    model = assemble(chosen).model
    assert sorted(name for name, _ in model.named_children()) == [
        "context", "language_model", "lm_head", "lora", "projector", "tower"
    ]  # fmt: skip
    saved = train(chosen, out=tmp_path, device="cpu", progress=False)
    old = AutoModelForImageTextToText.from_pretrained(stock).state_dict()
    new = AutoModelForImageTextToText.from_pretrained(saved).state_dict()
    assert old.keys() == new.keys()
    changed = {name.split(".")[-2] for name in old if not torch.equal(new[name][: len(old[name])], old[name])}
    assert changed == {"q_proj", "v_proj"}


def test_a_retrofit_without_gaze_is_refused(stock):
    with pytest.raises(ValueError, match="gaze must be given: a retrofit without it is the stock model"):
        assemble(recipe(stock, "gaze=null"))
