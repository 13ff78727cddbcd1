"""What generate() does beyond the plain way: other caches, guessing ahead, pieces, later turns."""

import copy
import logging
import pickle
from contextlib import contextmanager

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import DynamicCache, StaticCache

from gazekit import Gaze, GridPartition, TopKRouter
from gazekit.gaze import GazeCacheLayer, watch
from gazekit.gaze.cache import _say_slower, cache_name
from gazekit.models.retrofit import apply_gaze, versions
from tests.models.retrofit.cases import CASES
from tests.models.retrofit.tiny import SCENES, Image, longer

GAZE = Gaze(partition=GridPartition(size=(1, 2, 2)), route=TopKRouter(k=2))
CASE = CASES["qwen2_5_vl"]


@pytest.fixture(scope="module")
def model():
    return apply_gaze(CASE.build(), GAZE)


@pytest.fixture(scope="module")
def batch():
    return CASE.write(SCENES["left-padded batch"])


@pytest.fixture(scope="module")
def two():
    return CASE.write(SCENES["two images"])


@pytest.fixture(scope="module")
def again(two):
    """A prompt whose last words stood before with others behind: what is guessed from them is wrong."""
    ids = two["input_ids"].clone()
    ids[0, -3:] = torch.tensor([5, 6, 5])
    return two | {"input_ids": ids}


def greedy(model, inputs, steps=6, **kwargs):
    return model.generate(**inputs, max_new_tokens=steps, do_sample=False, **kwargs)


@contextmanager
def right_since(version, use):
    """What older versions of transformers would get wrong is refused under them."""
    if Version(transformers.__version__) >= Version(version):
        yield
        return
    with pytest.raises(ValueError, match=rf"{use} with images needs transformers of at least {version}"):
        yield


class OwnCache(DynamicCache):
    """A cache of the user's own."""


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("StaticCache", lambda model: {"cache_implementation": "static"}),
        ("OwnCache", lambda model: {cache_name(model): OwnCache(config=model.config.get_text_config())}),
    ],
)
def test_other_caches_give_the_same_and_that_they_are_slower_is_said_once(model, batch, caplog, kind, more):
    expected = greedy(model, batch)
    _say_slower.cache_clear()
    with caplog.at_level(logging.WARNING, logger="gazekit"):
        assert torch.equal(greedy(model, batch, **more(model)), expected)
        assert torch.equal(greedy(model, batch, **more(model)), expected)
    said = [record.getMessage() for record in caplog.records if "sequence order" in record.getMessage()]
    assert len(said) == 1
    assert said[0].startswith(f"a {kind} keeps keys and values in sequence order")


def test_beams_with_a_static_cache(model, batch):
    beams = {"num_beams": 3, "num_return_sequences": 2}
    assert torch.equal(
        greedy(model, batch, **beams, cache_implementation="static"), greedy(model, batch, **beams)
    )


def test_sampled_answers_are_those_without_a_cache(model, batch):
    def sampled(**kwargs):
        torch.manual_seed(3)
        return model.generate(**batch, max_new_tokens=6, do_sample=True, num_return_sequences=2, **kwargs)

    assert torch.equal(sampled(), sampled(use_cache=False))


def test_guessing_ahead_changes_nothing(model, again):
    expected = greedy(model, again, 10)
    for guess in ({"prompt_lookup_num_tokens": 3}, {"assistant_model": CASE.build()}):
        with right_since("5.18", "guessing ahead"):
            assert torch.equal(greedy(model, again, 10, **guess), expected)


def test_guessing_ahead_takes_no_cache_of_regions(model, again):
    guess = {"prompt_lookup_num_tokens": 3, cache_name(model): DynamicCache()}
    with pytest.raises(
        ValueError, match=r"cannot be cropped.*give generate\(\) no cache|can be cropped|needs transformers"
    ):
        greedy(model, again, 10, **guess)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "llava_next", "gemma3"])
def test_an_assistant_may_look_through_gaze_too(name):
    case = CASES[name]
    model, helper = apply_gaze(case.build(), GAZE), apply_gaze(case.build(), GAZE)
    inputs = case.write(SCENES["two images"])
    expected = greedy(model, inputs, 8)
    with right_since("5.18", "guessing ahead"), watch(helper) as trace:
        assert torch.equal(greedy(model, inputs, 8, assistant_model=helper), expected)
    if Version(transformers.__version__) >= Version("5.18"):
        assert trace.regions.count > GAZE.route.k


def test_an_image_whose_tokens_see_each_other_is_not_cut():
    case = CASES["gemma3"]
    model, inputs = apply_gaze(case.build(), GAZE), case.write([[2, Image(4, 4), 3]])
    expected = greedy(model, inputs)
    with pytest.raises(ValueError, match=r"tokens see each other must come in one piece|needs transformers"):
        greedy(model, inputs, prefill_chunk_size=7)
    with right_since("5.23", "prefill in chunks"):
        whole = inputs["input_ids"].shape[1] - 2
        assert torch.equal(greedy(model, inputs, prefill_chunk_size=whole), expected)


def test_prefill_in_chunks_is_prefill_at_once(model, batch):
    expected = greedy(model, batch)
    with right_since("5.23", "prefill in chunks"):
        assert torch.equal(greedy(model, batch, prefill_chunk_size=7), expected)


def test_embeddings_need_the_layout(model, two):
    mask = two["attention_mask"]
    embeddings = model.get_input_embeddings()(two["input_ids"])
    with pytest.raises(ValueError, match="generate needs input_ids, or gaze_layout beside inputs_embeds"):
        model.generate(inputs_embeds=embeddings, attention_mask=mask, max_new_tokens=2)
    with pytest.raises(ValueError, match="gaze_layout must be given beside inputs_embeds"):
        model(inputs_embeds=embeddings)
    packed = model.layout(**two).pack()
    made = model.generate(
        inputs_embeds=embeddings,
        attention_mask=mask,
        gaze_layout=packed,
        max_new_tokens=4,
        do_sample=False,
        output_logits=True,
        return_dict_in_generate=True,
    )
    logits = model(inputs_embeds=embeddings, gaze_layout=packed).logits[:, -1]
    torch.testing.assert_close(made.logits[0], logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["qwen2_5_vl", "qwen3_vl"])
def test_a_later_turn_may_bring_new_images(name):
    case = CASES[name]
    model = apply_gaze(case.build(), GAZE)
    first = [3, Image(3, 4), 2]
    second = [[*first, 5, Image(2, 4), 1, Image(4, 4), 3], [*first, 6, Image(4, 2), 2, Image(2, 2), 13]]
    whole = case.write(second)
    opening = case.write([first, first])
    # Both turns say the same of the same picture: the opening is the beginning of the whole.
    start = opening["input_ids"].shape[1]
    opening |= {name: whole[name][:, :start] for name in ("input_ids", "attention_mask", "mm_token_type_ids")}
    count = int(opening["image_grid_thw"][0].prod())
    later = int(whole["image_grid_thw"][:3].prod(-1).sum())
    opening["pixel_values"] = torch.cat(
        [whole["pixel_values"][:count], whole["pixel_values"][later : later + count]]
    )
    expected = greedy(model, whole, use_cache=False)
    made = model.generate(**opening, max_new_tokens=1, do_sample=False, return_dict_in_generate=True)
    kept = getattr(made, cache_name(model))
    assert kept.get_seq_length() == start
    assert isinstance(kept.layers[0], GazeCacheLayer)
    with right_since("5.23", "a later turn"):
        assert torch.equal(greedy(model, whole, **{cache_name(model): kept}), expected)


def test_a_later_turn_of_text_needs_no_images(model, two):
    made = model.generate(**two, max_new_tokens=3, do_sample=False, return_dict_in_generate=True)
    turn = longer(two, torch.cat([made.sequences[:, -3:], torch.tensor([[50, 51]])], dim=1))
    expected = greedy(model, turn, use_cache=False)
    text = {name: turn[name] for name in ("input_ids", "attention_mask")}
    kept = {cache_name(model): getattr(made, cache_name(model))}
    assert torch.equal(greedy(model, text, **copy.deepcopy(kept)), expected)
    with right_since("5.23", "a later turn"):
        assert torch.equal(greedy(model, turn, **copy.deepcopy(kept)), expected)


def test_what_an_older_transformers_gets_wrong_is_refused(model, two, monkeypatch):
    monkeypatch.setattr(versions, "_INSTALLED", Version("5.17.0"))
    for asked in ({"prefill_chunk_size": 4}, {"prompt_lookup_num_tokens": 3}):
        with pytest.raises(
            ValueError, match=r"with images needs transformers of at least 5\..., got 5\.17\.0"
        ):
            greedy(model, two, **asked)
    assert greedy(model, CASE.write(SCENES["text"]), prompt_lookup_num_tokens=3).shape[1] == 6 + 6


def test_a_forward_goes_on_from_the_cache(model, two):
    start = 2 + 2 + 3 * 4
    whole = model(**two).logits
    model.generate(**two, max_new_tokens=1)
    positions, _ = model.model.get_rope_index(**{k: v for k, v in two.items() if k != "pixel_values"})
    grid, values = two["image_grid_thw"], two["pixel_values"]
    cut = int(grid[0].prod())
    first = model(
        input_ids=two["input_ids"][:, :start],
        pixel_values=values[:cut],
        image_grid_thw=grid[:1],
        position_ids=positions[..., :start],
        mm_token_type_ids=two["mm_token_type_ids"][:, :start],
        use_cache=True,
    )
    then = model(
        input_ids=two["input_ids"][:, start:],
        attention_mask=two["attention_mask"],
        pixel_values=values[cut:],
        image_grid_thw=grid[1:],
        position_ids=positions[..., start:],
        mm_token_type_ids=two["mm_token_type_ids"][:, start:],
        **{cache_name(model): getattr(first, cache_name(model))},
    )
    torch.testing.assert_close(torch.cat([first.logits, then.logits], 1), whole, atol=1e-5, rtol=1e-5)


def test_a_cache_whose_prompts_are_not_known_is_refused(model, two):
    out = model(**two, use_cache=True)
    kept = getattr(out, cache_name(model))
    kept.batch_repeat_interleave(2)
    with pytest.raises(
        ValueError, match="gaze_layout must be given with a cache whose prompts are not known"
    ):
        model(input_ids=torch.tensor([[5], [6]]), **{cache_name(model): kept})


def test_a_piece_of_the_conversation_is_refused(model, two):
    kept = getattr(model(**two, use_cache=True), cache_name(model))
    with pytest.raises(ValueError, match="input_ids and attention_mask must hold the whole conversation"):
        greedy(model, {"input_ids": torch.tensor([[5, 6]])}, **{cache_name(model): kept})
    longer_mask = torch.ones(1, kept.get_seq_length() + 2, dtype=torch.long)
    longer_mask[0, 0] = 0
    ids = torch.cat([two["input_ids"], torch.tensor([[5, 6]])], dim=1)
    with pytest.raises(ValueError, match="what a cache holds cannot be hidden later"):
        greedy(model, {"input_ids": ids, "attention_mask": longer_mask}, **{cache_name(model): kept})


def test_a_static_cache_that_is_used_again_is_another_prompt(model, two):
    config = model.config.get_text_config()
    kept = StaticCache(config=config, max_cache_len=64)
    greedy(model, CASE.write(SCENES["one image"]), **{cache_name(model): kept})
    kept.reset()
    assert torch.equal(greedy(model, two, **{cache_name(model): kept}), greedy(model, two))


def test_copies_and_pickles_look_the_same_way(model, two):
    expected = greedy(model, two)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(other) is type(model)
        assert torch.equal(greedy(other, two), expected)
