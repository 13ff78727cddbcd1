"""Samples packed in one row equal the same samples one by one: loss, logits and every gradient."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from gazekit.data import join
from gazekit.models import UnitForm, layout_from_ids
from tests.models.tiny import gaze_section, make_model, make_processor, picture
from tests.scenes import unchecked

TALKS = [
    ("<image> read row 3", "1 2 3 4", 1),
    ("where is the 7", "3", 0),
    ("<image> <image> read the column", "5 5", 2),
    ("<image> is the 4", "9 9 1", 1),
]
WINDOW = {"_target_": "gazekit.context.WindowContext", "size": 5}
RANDOM = {"_target_": "gazekit.route.RandomRouter", "k": 1}
LEARNED = {"_target_": "gazekit.pool.LearnedPooler"}
GAZES = {
    "dense": None,
    "gaze": gaze_section(k=1, num_context=2),
    "random": gaze_section(route=RANDOM),
    "visual queries route": gaze_section(k=1, num_context=1, visual_scope="routed"),
    "own unit": gaze_section(k=1, visual_scope="own_unit"),
    "runs of all tokens": {
        "partition": {"_target_": "gazekit.partition.RunPartition", "length": 4, "kinds": ["VISUAL", "TEXT"]},
        "route": {"_target_": "gazekit.route.AlwaysRouter", "inner": gaze_section(k=1)["route"], "own": True},
        "context": WINDOW,
    },
}


def samples(processor):
    made = []
    for number, (asked, said, images) in enumerate(TALKS):
        messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
        made.append(
            processor.encode_conversation(messages, [picture(10 * number + i) for i in range(images)])
        )
    return made


def learned(model, batches, **arguments):
    """The summed loss of batches, in double precision throughout, and the gradient of every parameter."""
    model.zero_grad()
    total = 0.0
    for batch in batches:
        labels = batch["labels"]
        given = {name: value for name, value in batch.items() if name != "labels"}
        logits = model(**given, use_cache=False, **arguments).logits
        loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum")
        loss.backward()
        total += loss.item()
    return total, {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("name", "openness"), [*((name, 0.0) for name in GAZES), ("gaze", 0.3), ("gaze", 1.0)]
)
def test_packed_samples_learn_what_they_learn_one_by_one(name, openness):
    model = make_model(gaze=GAZES[name]).double()
    processor = make_processor(model.config)
    each = samples(processor)
    packed = processor.collate([join(each[:3]), join(each[3:])])
    opened = {} if GAZES[name] is None else {"gaze_openness": openness}
    loss, gradients = learned(model, [packed], **opened)
    expected, others = learned(model, [processor.collate([one]) for one in each], **opened)
    assert loss == pytest.approx(expected, abs=1e-10)
    assert gradients.keys() == others.keys()
    for key, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[key], atol=1e-10, rtol=1e-8, msg=key)


@pytest.mark.parametrize("name", ["dense", "gaze"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_of_packed_samples_are_their_own(name, side):
    model = make_model(gaze=GAZES[name])
    processor = make_processor(model.config)
    each = samples(processor)
    packed = processor.collate([join(each[:3]), join(each[3:])], padding_side=side)
    packed.pop("labels")
    with torch.no_grad():
        logits = model(**packed).logits
        for number, one in enumerate(each):
            batch = processor.collate([one])
            batch.pop("labels")
            row, document = (0, number) if number < 3 else (1, 0)
            found = logits[row][packed["document_ids"][row] == document]
            torch.testing.assert_close(found, model(**batch).logits[0], atol=2e-5, rtol=1e-4)


def test_another_sample_in_the_row_changes_nothing():
    """Not to within a tolerance: what a sample sees of another is exactly nothing."""
    model = make_model(gaze=GAZES["gaze"]).double()
    processor = make_processor(model.config)
    one, _, three, _ = samples(processor)
    batch = processor.collate([join([one, three])])
    embeds = model.language_model.embed_tokens(batch["input_ids"]).detach().requires_grad_()
    layout = model.layout(batch["input_ids"], None, batch["clip_lengths"], document_ids=batch["document_ids"])
    out = model(
        inputs_embeds=embeds, gaze_layout=layout.pack(), pixel_values=batch["pixel_values"],
        clip_lengths=batch["clip_lengths"], gaze_openness=0.0, use_cache=False,
    )  # fmt: skip
    own = batch["document_ids"][0] == 1
    out.logits[0, own].sum().backward()
    assert embeds.grad[0, own].any()
    assert not embeds.grad[0, ~own].any()


def test_a_packed_row_may_go_on_with_gaze_but_not_without():
    model = make_model()
    processor = make_processor(model.config)
    packed = processor.collate([join(samples(processor)[:2])])
    with pytest.raises(
        ValueError, match="use_cache must be False where samples are packed and the model has no gaze"
    ):
        model(**packed, use_cache=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda ids: ids.flip(1),
            r"document_ids must be at least 0 and never fall along a sample, got \[1, ",
        ),
        (lambda ids: ids - 1, "document_ids must be at least 0 and never fall"),
        (
            lambda ids: (torch.arange(ids.shape[1]) > 9).long()[None],
            "document_ids must not part an image or video",
        ),
    ],
)
def test_impossible_documents_are_refused(change, message):
    model = make_model(gaze=GAZES["gaze"])
    processor = make_processor(model.config)
    batch = processor.collate([join(samples(processor)[:2])])
    with pytest.raises(ValueError, match=message):
        model(**{**batch, "document_ids": change(batch["document_ids"])})


def test_documents_of_another_length_are_refused():
    form = UnitForm(rows=1, columns=1, num_context=0, visual_ids=(90,), context_id=92)
    ids = torch.tensor([[7, 7, 7]])
    with unchecked(), pytest.raises(ValueError, match=r"shape of input_ids \(1, 3\), got \(1, 2\)"):
        layout_from_ids(ids, form, document_ids=ids[:, :2])
