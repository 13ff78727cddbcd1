import logging
import sys

import pytest
import torch
from transformers import AutoModel, AutoModelForImageTextToText
from transformers.cache_utils import DynamicCache

from gazekit.contracts import Kind
from gazekit.gaze import Gaze, GazeCacheLayer, watch
from gazekit.models import CambrianForConditionalGeneration
from gazekit.partition import GridPartition
from gazekit.route import TopKRouter
from tests.models.tiny import gaze_section, make_model

IMAGE, FRAME, CONTEXT, PAD = 3, 4, 5, 0
VISUAL = 16


def unit(mark=IMAGE, num_context=0):
    return [mark] * VISUAL + [CONTEXT] * num_context


def ids_of(*rows, left=True):
    """Rows padded to one length, and their mask."""
    longest = max(map(len, rows))
    pads = [[PAD] * (longest - len(row)) for row in rows]
    whole = [pad + list(row) if left else list(row) + pad for pad, row in zip(pads, rows, strict=True)]
    ones = [
        [0] * len(p) + [1] * len(r) if left else [1] * len(r) + [0] * len(p)
        for p, r in zip(pads, rows, strict=True)
    ]
    return torch.tensor(whole), torch.tensor(ones)


def pixels(batch, units, seed=0):
    return torch.randn(batch, units, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def mixed(num_context=0):
    """Three samples, left-padded: two images, none, a video of two frames with text between; as keyword arguments."""
    one = unit(num_context=num_context)
    frame = unit(FRAME, num_context)
    ids, mask = ids_of([9, *one, 10, 11, *one, 12, 13], [9, 10, 11], [9, *frame, 14, *frame, 11, 12])
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "pixel_values": pixels(3, 2),
        "clip_lengths": torch.tensor([[1, 1], [0, 0], [2, 0]]),
    }


def single(batch, row):
    """A sample of a batch by itself, without its padding."""
    real = batch["attention_mask"][row].bool()
    clips = batch["clip_lengths"][row]
    count = int(clips.sum())
    inputs = {"input_ids": batch["input_ids"][row, real][None]}
    if count:
        inputs["pixel_values"] = batch["pixel_values"][row : row + 1, :count]
        inputs["clip_lengths"] = clips[clips > 0][None]
    return inputs


SECTIONS = {"dense": None, "gaze": gaze_section(k=2), "context": gaze_section(k=2, num_context=2)}


@pytest.fixture(params=SECTIONS)
def name(request):
    return request.param


@pytest.fixture
def model(name):
    return make_model(gaze=SECTIONS[name])


@pytest.fixture
def batch(name):
    return mixed(num_context=2 if name == "context" else 0)


@torch.no_grad()
def test_a_batch_is_its_samples_one_by_one(model, batch):
    together = model(**batch).logits
    for row in range(3):
        alone = model(**single(batch, row)).logits[0]
        torch.testing.assert_close(together[row, -len(alone) :], alone, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_right_padding_is_left_padding(model, batch):
    rows = [
        ids[mask.bool()].tolist()
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    ids, mask = ids_of(*rows, left=False)
    right = model(**{**batch, "input_ids": ids, "attention_mask": mask}).logits
    left = model(**batch).logits
    for row, tokens in enumerate(rows):
        torch.testing.assert_close(right[row, : len(tokens)], left[row, -len(tokens) :], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_generate_is_a_loop_of_whole_forwards(model, batch):
    out = model.generate(**batch, max_new_tokens=6, do_sample=False, eos_token_id=None)
    ids, mask = batch["input_ids"], batch["attention_mask"]
    for _ in range(6):
        logits = model(**{**batch, "input_ids": ids, "attention_mask": mask}, use_cache=False).logits[:, -1]
        ids = torch.cat([ids, logits.argmax(-1)[:, None]], 1)
        mask = torch.nn.functional.pad(mask, (0, 1), value=1)
    assert torch.equal(out, ids)


@torch.no_grad()
def test_padding_is_found_without_a_mask(model, batch):
    mask = batch.pop("attention_mask")
    given = model.generate(**batch, attention_mask=mask, max_new_tokens=4, do_sample=False, eos_token_id=None)
    found = model.generate(**batch, max_new_tokens=4, do_sample=False, eos_token_id=None)
    assert torch.equal(found, given)


@torch.no_grad()
def test_beams_of_a_batch_are_those_of_its_samples(model, batch):
    options = {"num_beams": 3, "max_new_tokens": 5, "eos_token_id": None, "do_sample": False}
    together = model.generate(**batch, **options)[:, -5:]
    alone = [model.generate(**single(batch, row), **options)[0, -5:] for row in range(3)]
    assert torch.equal(together, torch.stack(alone))


@torch.no_grad()
def test_beams_use_the_cache_as_no_cache_does(model, batch):
    options = {"num_beams": 3, "max_new_tokens": 5, "eos_token_id": None, "do_sample": False}
    assert torch.equal(
        model.generate(**batch, **options), model.generate(**batch, **options, use_cache=False)
    )


@torch.no_grad()
def test_several_sequences_are_sampled_from_one_prompt(model, batch):
    torch.manual_seed(0)
    options = {"do_sample": True, "temperature": 30.0, "top_k": 0, "max_new_tokens": 5, "eos_token_id": None}
    out = model.generate(**batch, **options, num_return_sequences=4)
    assert out.shape[0] == 12
    prompts = out[:, :-5].view(3, 4, -1)
    assert torch.equal(prompts, batch["input_ids"][:, None].expand(-1, 4, -1))
    assert len({tuple(row) for row in out[:4, -5:].tolist()}) > 1


@torch.no_grad()
def test_each_image_is_encoded_once_for_all_beams(batch, model, monkeypatch):
    seen = []
    forward = model.tower.forward
    monkeypatch.setattr(model.tower, "forward", lambda images: seen.append(len(images)) or forward(images))
    model.generate(**batch, num_beams=3, max_new_tokens=4, do_sample=False)
    assert seen == [4]


@torch.no_grad()
def test_a_prompt_in_pieces_is_the_whole(model, batch):
    whole = model(**batch, use_cache=False).logits
    packed = model.layout(batch["input_ids"], batch["attention_mask"], batch["clip_lengths"]).pack()
    for cuts in ([5, 25], [1, 17, 18, 30]):
        cache, parts = None, []
        for start, stop in zip([0, *cuts], [*cuts, whole.shape[1]], strict=True):
            piece = {
                "input_ids": batch["input_ids"][:, start:stop],
                "attention_mask": batch["attention_mask"][:, :stop],
            }
            rest = {"pixel_values": batch["pixel_values"], "clip_lengths": batch["clip_lengths"]}
            out = model(**piece, **rest, past_key_values=cache, use_cache=True, gaze_layout=packed)
            cache = out.past_key_values
            parts.append(out.logits)
        real = batch["attention_mask"].bool()
        torch.testing.assert_close(torch.cat(parts, 1)[real], whole[real], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_chunked_prefill_generates_the_same(model, batch):
    options = {"max_new_tokens": 5, "do_sample": False, "eos_token_id": None}
    assert torch.equal(
        model.generate(**batch, **options, prefill_chunk_size=7), model.generate(**batch, **options)
    )


@torch.no_grad()
def test_a_second_turn_with_a_new_image_goes_on_with_the_cache(model, name):
    num_context = 2 if name == "context" else 0
    one = unit(num_context=num_context)
    options = {"do_sample": False, "eos_token_id": None}
    images = pixels(1, 2)
    first = torch.tensor([[9, *one, 10, 11]])
    out = model.generate(
        first,
        pixel_values=images[:, :1],
        max_new_tokens=4,
        return_dict_in_generate=True,
        use_cache=True,
        **options,
    )
    second = torch.cat([out.sequences, torch.tensor([[12, *one, 13]])], 1)
    fresh = model.generate(second, pixel_values=images, max_new_tokens=5, **options)
    seen = []
    forward = model.tower.forward
    model.tower.forward = lambda tiles: seen.append(len(tiles)) or forward(tiles)
    kept = model.generate(
        second, pixel_values=images, past_key_values=out.past_key_values, max_new_tokens=5, **options
    )
    assert torch.equal(kept, fresh)
    assert seen == [1], "only the new image is encoded"


@torch.no_grad()
def test_text_alone_needs_no_image(model):
    ids = torch.tensor([[9, 10, 11, 12]])
    out = model.generate(ids, max_new_tokens=5, do_sample=False, eos_token_id=None)
    stock = model.lm_head(model.language_model(input_ids=ids, use_cache=False).last_hidden_state)
    torch.testing.assert_close(model(ids, use_cache=False).logits, stock, atol=1e-5, rtol=1e-5)
    assert out.shape == (1, 9)


@pytest.mark.parametrize("kind", ["qwen3", "qwen2"])
@torch.no_grad()
def test_all_regions_are_dense(kind):
    dense, looking = make_model(kind), make_model(kind, gaze=gaze_section(k=100))
    batch = mixed()
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(
        looking(**batch).logits[real], dense(**batch).logits[real], atol=1e-5, rtol=1e-5
    )
    options = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None}
    assert torch.equal(looking.generate(**batch, **options), dense.generate(**batch, **options))


@torch.no_grad()
def test_few_regions_are_not_dense():
    dense, looking = make_model(), make_model(gaze=gaze_section(k=1))
    batch = mixed()
    assert (looking(**batch).logits - dense(**batch).logits)[0, -1].abs().max() > 1e-3


@torch.no_grad()
def test_openness_opens_the_routing():
    dense, looking = make_model(), make_model(gaze=gaze_section(k=1))
    batch = mixed()
    opened = looking(**batch, gaze_openness=1.0).logits
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(opened[real], dense(**batch).logits[real], atol=1e-5, rtol=1e-5)
    closed = looking(**batch, gaze_openness=0.0).logits
    torch.testing.assert_close(closed, looking(**batch).logits)
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    assert torch.equal(
        looking.generate(**batch, gaze_openness=1.0, **options), dense.generate(**batch, **options)
    )


def loss_of(model, batch, **options):
    labels = batch["input_ids"].masked_fill(batch["input_ids"] < 9, -100)
    return model(**batch, labels=labels, **options).loss, labels


def test_loss_is_the_mean_or_a_share_of_the_global_batch(model, batch):
    mean, labels = loss_of(model, batch)
    count = int((labels[:, 1:] != -100).sum())
    logits = model(**batch).logits[:, :-1].reshape(-1, 48)
    by_hand = torch.nn.functional.cross_entropy(logits, labels[:, 1:].reshape(-1), ignore_index=-100)
    torch.testing.assert_close(mean, by_hand)
    torch.testing.assert_close(loss_of(model, batch, num_items_in_batch=40)[0], mean * count / 40)
    torch.testing.assert_close(
        loss_of(model, batch, num_items_in_batch=torch.tensor(40))[0], mean * count / 40
    )


def test_every_part_learns(model, batch, name):
    loss_of(model.train(), batch)[0].backward()
    for part, parameters in model.parts().items():
        grads = [p for p in parameters if p.grad is not None and bool(p.grad.any())]
        assert bool(grads) == bool(parameters), part
    if name == "context":
        assert model.context.weight.grad.abs().amin() > 0


def test_gradient_checkpointing_changes_nothing(model, batch):
    model.train()
    loss_of(model, batch)[0].backward()
    plain = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": False})
    assert model.is_activation_checkpointing
    loss_of(model, batch)[0].backward()
    again = [p.grad for p in model.parameters() if p.grad is not None]
    torch.testing.assert_close(again, plain, atol=1e-6, rtol=1e-5)


def test_parts_hold_every_parameter_once(model):
    held = [p for parameters in model.parts().values() for p in parameters]
    assert {id(p) for p in held} == {id(p) for p in model.parameters()}
    assert len({id(p) for p in held}) == len(held)
    assert list(model.parts()) == ["tower", "compressor", "projector", "context", "language", "gaze"]


@torch.no_grad()
@pytest.mark.parametrize("load", [CambrianForConditionalGeneration, AutoModelForImageTextToText, AutoModel])
def test_saving_keeps_weights_tokens_and_composition(model, batch, tmp_path, load):
    model.save_pretrained(tmp_path)
    again = load.from_pretrained(tmp_path)
    assert type(again) is CambrianForConditionalGeneration
    assert again.gaze == model.gaze
    assert not again.training
    for (key, new), (_, old) in zip(again.state_dict().items(), model.state_dict().items(), strict=True):
        assert torch.equal(new, old), key
    options = {"max_new_tokens": 6, "do_sample": False, "eos_token_id": None}
    assert torch.equal(again.generate(**batch, **options), model.generate(**batch, **options))
    assert again.lm_head.weight is again.language_model.embed_tokens.weight
    assert (again.generation_config.eos_token_id, again.generation_config.pad_token_id) == (2, 0)


def test_untied_heads_are_saved(tmp_path):
    model = make_model(text={"tie_word_embeddings": False})
    model.save_pretrained(tmp_path)
    again = CambrianForConditionalGeneration.from_pretrained(tmp_path)
    assert torch.equal(again.lm_head.weight, model.lm_head.weight)
    assert not torch.equal(again.lm_head.weight, again.language_model.embed_tokens.weight)


def test_a_list_cycles_over_the_layers(tmp_path):
    first, second = gaze_section(k=1), {"route": None}
    model = make_model(gaze=[first, second])
    model.save_pretrained(tmp_path)
    again = CambrianForConditionalGeneration.from_pretrained(tmp_path)
    assert again.gaze == model.gaze
    ks = [
        layer.self_attn.gaze.route and layer.self_attn.gaze.route.k for layer in again.language_model.layers
    ]
    assert ks == [1, None, 1]


def test_layers_must_agree_on_the_context():
    with pytest.raises(ValueError, match=r"same number of context tokens, got \[0, 2\]"):
        make_model(gaze=[gaze_section(num_context=2), gaze_section()])


ROUTER = '''
from dataclasses import dataclass
from gazekit.contracts import Selection, View
from gazekit.route import TopKRouter


@dataclass(frozen=True)
class {name}:
    """Looks where top-k does."""

    k: int = 1

    def __call__(self, scores, view):
        return TopKRouter(k=self.k)(scores, view)
'''


def test_a_router_of_ones_own_needs_the_door(tmp_path, monkeypatch):
    (tmp_path / "my_cambrian_router.py").write_text(ROUTER.format(name="MyRouter"))
    monkeypatch.syspath_prepend(tmp_path)
    section = {**gaze_section(), "route": {"_target_": "my_cambrian_router.MyRouter", "k": 2}}
    model = make_model(gaze=section, imports=["my_cambrian_router"])
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ValueError, match=r"my_cambrian_router"):
        CambrianForConditionalGeneration.from_pretrained(tmp_path / "model")
    for load in (CambrianForConditionalGeneration, AutoModelForImageTextToText):
        again = load.from_pretrained(tmp_path / "model", imports=["my_cambrian_router"])
        assert again.gaze == model.gaze
    assert again.gaze.route.k == 2
    sys.modules.pop("my_cambrian_router")


def test_wrong_sections_name_their_fault():
    with pytest.raises(ValueError, match=r"route\.kk"):
        make_model(gaze={**gaze_section(), "route": {"_target_": "gazekit.route.TopKRouter", "kk": 2}})
    with pytest.raises(ValueError, match="at least 1"):
        make_model(gaze=gaze_section(k=0))


@torch.no_grad()
def test_set_gaze_takes_objects_sections_and_none(tmp_path):
    model = make_model()
    batch = mixed()
    dense = model(**batch).logits
    model.set_gaze(Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=1)))
    looking = model(**batch).logits
    assert not torch.equal(looking, dense)
    model.save_pretrained(tmp_path)
    again = CambrianForConditionalGeneration.from_pretrained(tmp_path)
    torch.testing.assert_close(again(**batch).logits, looking, atol=1e-6, rtol=1e-6)
    model.set_gaze(gaze_section(k=1))
    torch.testing.assert_close(model(**batch).logits, looking)
    model.set_gaze([gaze_section(k=1), {"route": None}])
    assert [gaze.route is None for gaze in model.gaze] == [False, True]
    model.set_gaze(None)
    torch.testing.assert_close(model(**batch).logits, dense)
    assert model.gaze is None
    assert model.config.gaze is None


def test_set_gaze_brings_and_drops_context_tokens():
    model = make_model(gaze=gaze_section(num_context=1))
    old = model.context.weight
    model.set_gaze(gaze_section(k=3, num_context=1))
    assert model.context.weight is old
    model.set_gaze(gaze_section(num_context=3))
    assert model.context.weight.shape == (3, 32)
    assert model.context.weight.isfinite().all()
    model.set_gaze(gaze_section())
    assert model.context is None
    assert model.parts()["context"] == []


def test_a_checkpoint_without_context_tokens_can_be_given_some(tmp_path):
    make_model(gaze=gaze_section()).save_pretrained(tmp_path)
    again = CambrianForConditionalGeneration.from_pretrained(tmp_path, gaze=gaze_section(num_context=2))
    assert again.context.weight.shape == (2, 32)
    assert again.context.weight.isfinite().all()
    assert again.config.num_context == 2


def test_dense_says_so_once(tmp_path, caplog):
    make_model().save_pretrained(tmp_path)
    model = CambrianForConditionalGeneration.from_pretrained(tmp_path)
    with caplog.at_level(logging.WARNING, logger="gazekit"):
        for _ in range(2):
            model.generate(torch.tensor([[9, 10]]), max_new_tokens=1, do_sample=False)
    said = [record.message for record in caplog.records if record.name.startswith("gazekit")]
    assert said == ["this model has no gaze section: every token attends to all that precede it (dense)"]
    caplog.clear()
    make_model(gaze=gaze_section()).generate(torch.tensor([[9, 10]]), max_new_tokens=1, do_sample=False)
    assert not [record for record in caplog.records if record.name.startswith("gazekit")]


@pytest.mark.parametrize("call", ["forward", "generate"])
@pytest.mark.parametrize(
    ("marks", "images", "message"),
    [
        (2, 1, "sample 1 has placeholders for 2 images or frames, but clip_lengths counts 1"),
        (0, 1, "sample 1 has placeholders for 0 images or frames, but clip_lengths counts 1"),
        (1, 2, "sample 1 has placeholders for 1 images or frames, but clip_lengths counts 2"),
    ],
)
def test_counts_that_differ_name_the_sample(model, name, call, marks, images, message):
    one = unit(num_context=2 if name == "context" else 0)
    ids, mask = ids_of([9, *one, 10], [9, *one * marks, 10])
    inputs = {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels(2, max(images, 1))}
    clips = torch.tensor([[1, 0], [1, images - 1]])
    with pytest.raises(ValueError, match=message):
        (model if call == "forward" else model.generate)(**inputs, clip_lengths=clips)


@pytest.mark.parametrize("call", ["forward", "generate"])
def test_pixels_must_fit_the_placeholders(call):
    model = make_model(gaze=gaze_section())
    run = model if call == "forward" else model.generate
    ids, mask = ids_of([9, *unit(), 10], [9, *unit(), *unit(), 10])
    with pytest.raises(
        ValueError, match="sample 0 has placeholders for 1 images or frames, but pixel_values holds 2"
    ):
        run(input_ids=ids, attention_mask=mask, pixel_values=pixels(2, 2))
    clips = torch.tensor([[1, 0], [1, 1]])
    with pytest.raises(
        ValueError, match="sample 1 has placeholders for 2 images or frames, but pixel_values holds 1"
    ):
        run(input_ids=ids, attention_mask=mask, pixel_values=pixels(2, 1), clip_lengths=clips)
    with pytest.raises(ValueError, match="padded to the 2 units of the fullest sample, got 3"):
        run(input_ids=ids, attention_mask=mask, pixel_values=pixels(2, 3), clip_lengths=clips)
    with pytest.raises(
        ValueError, match="sample 0 has placeholders for 1 images or frames, but no pixel_values were given"
    ):
        run(input_ids=ids, attention_mask=mask)
    with pytest.raises(
        ValueError, match="sample 0 has placeholders for 0 images or frames, but pixel_values holds 1"
    ):
        run(input_ids=torch.tensor([[9, 10]]), pixel_values=pixels(1, 1))


def test_padding_units_are_never_read(model, batch):
    poisoned = batch["pixel_values"].clone()
    poisoned[1] = float("nan")
    with torch.no_grad():
        out = model(**{**batch, "pixel_values": poisoned}).logits
    assert out.isfinite().all()


def test_pixels_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"images of 32 x 32 pixels, got 16 x 16"):
        make_model()(torch.tensor([[9, *unit()]]), pixel_values=torch.zeros(1, 1, 3, 16, 16))


def test_a_cache_needs_the_layout():
    model = make_model(gaze=gaze_section())
    out = model(torch.tensor([[9, *unit(), 10]]), pixel_values=pixels(1, 1), use_cache=True)
    assert {type(layer) for layer in out.past_key_values.layers} == {GazeCacheLayer}
    with pytest.raises(ValueError, match="gaze_layout must be given where the ids are only a piece"):
        model(torch.tensor([[11]]), past_key_values=out.past_key_values)


def test_a_piece_of_the_ids_cannot_be_generated_from():
    model = make_model(gaze=gaze_section())
    with pytest.raises(
        ValueError, match=r"attention_mask must have the shape of input_ids \(1, 1\), got \(1, 9\)"
    ):
        model.generate(torch.tensor([[11]]), attention_mask=torch.ones(1, 9, dtype=torch.long))


@torch.no_grad()
def test_a_dense_model_goes_on_like_any_other():
    model = make_model()
    ids = torch.tensor([[9, *unit(), 10, 11]])
    out = model(ids[:, :-1], pixel_values=pixels(1, 1), use_cache=True)
    assert isinstance(out.past_key_values, DynamicCache)
    step = model(ids[:, -1:], past_key_values=out.past_key_values).logits
    torch.testing.assert_close(
        step, model(ids, pixel_values=pixels(1, 1)).logits[:, -1:], atol=1e-5, rtol=1e-5
    )


@torch.no_grad()
def test_embeddings_instead_of_ids():
    model = make_model(gaze=gaze_section())
    batch = mixed()
    packed = model.layout(batch["input_ids"], batch["attention_mask"], batch["clip_lengths"]).pack()
    embeds = model.get_input_embeddings()(batch["input_ids"])
    inputs = {**batch, "input_ids": None, "inputs_embeds": embeds, "gaze_layout": packed}
    torch.testing.assert_close(model(**inputs).logits, model(**batch).logits)
    options = {"max_new_tokens": 4, "do_sample": False, "eos_token_id": None}
    out = model.generate(**{key: value for key, value in inputs.items() if value is not None}, **options)
    whole = model.generate(**batch, **options)
    assert torch.equal(out, whole[:, -4:])


@torch.no_grad()
def test_logits_to_keep():
    model = make_model(gaze=gaze_section())
    batch = mixed()
    whole = model(**batch).logits
    torch.testing.assert_close(model(**batch, logits_to_keep=3).logits, whole[:, -3:])
    torch.testing.assert_close(model(**batch, logits_to_keep=torch.tensor([1, 5])).logits, whole[:, [1, 5]])
    hidden = model(**batch, output_hidden_states=True).hidden_states
    assert len(hidden) == 4


def test_training_and_scoring_keep_no_cache(batch, model):
    assert loss_of(model, batch)
    labels = batch["input_ids"]
    assert model(**batch, labels=labels).past_key_values is None
    assert model.train()(**batch).past_key_values is None
    assert model.eval()(**batch).past_key_values is not None


def test_vocabulary_can_grow():
    model = make_model()
    model.resize_token_embeddings(60, mean_resizing=False)
    assert model.lm_head.weight.shape[0] == 60
    assert model.config.text_config.vocab_size == 60
    assert model(torch.tensor([[59, 9]])).logits.shape[-1] == 60


@torch.no_grad()
def test_half_precision_runs():
    model = make_model(gaze=gaze_section(num_context=2)).to(torch.bfloat16)
    batch = mixed(num_context=2)
    assert model(**batch).logits.dtype == torch.bfloat16
    assert model.generate(**batch, max_new_tokens=3, do_sample=False, eos_token_id=None).shape[0] == 3


@torch.no_grad()
def test_what_was_looked_at_can_be_watched():
    model = make_model(gaze=gaze_section(k=2))
    with watch(model) as trace:
        model(torch.tensor([[9, *unit(), 10, 11]]), pixel_values=pixels(1, 1))
    assert {glance.layer for glance in trace.glances} == {0, 1, 2}


def test_layout_is_that_of_the_prompt(model, batch, name):
    layout = model.layout(batch["input_ids"], batch["attention_mask"], batch["clip_lengths"])
    assert layout.kind[2].tolist().count(Kind.VISUAL) == 32
    assert layout.kind[0].tolist().count(Kind.CONTEXT) == (4 if name == "context" else 0)
    assert sorted(set(layout.place[2, :, 0].tolist())) == [-1, 0, 1]


def test_an_image_is_what_its_pixels_say():
    """Guards against a splice that drops or swaps images: each one changes what follows it, not what precedes it."""
    model = make_model(gaze=gaze_section(k=100))
    ids = torch.tensor([[9, *unit(), 10, *unit(), 11]])
    images = pixels(1, 2)
    with torch.no_grad():
        base = model(ids, pixel_values=images).logits
        for image, first in ((0, 1), (1, 18)):
            other = images.clone()
            other[0, image] += 1
            changed = (model(ids, pixel_values=other).logits - base).abs().amax(-1)[0] > 1e-6
            assert not changed[:first].any()
            assert changed[first:].all()
