from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gazekit.contracts import Kind
from gazekit.models import UnitForm, extract, layout_from_ids, splice, units_in

IMAGE, FRAME, CONTEXT, PAD = 90, 91, 92, 0


def form(rows=2, columns=3, num_context=0):
    return UnitForm(
        rows=rows, columns=columns, num_context=num_context, visual_ids=(IMAGE, FRAME), context_id=CONTEXT
    )


def prompt(shape, clips):
    """Ids of a sample: `clips` lists, per clip, the text before each of its units; then the text that follows."""
    *clips, tail = clips
    ids = []
    for clip in clips:
        for text in clip:
            mark = IMAGE if len(clip) == 1 else FRAME
            ids += [7] * text + [mark] * shape.num_visual + [CONTEXT] * shape.num_context
    return ids + [7] * tail


def batch(shape, samples, left=True):
    rows = [prompt(shape, sample) for sample in samples]
    longest = max(map(len, rows))
    pads = [[PAD] * (longest - len(row)) for row in rows]
    ids = torch.tensor([pad + row if left else row + pad for pad, row in zip(pads, rows, strict=True)])
    mask = torch.tensor([[0] * len(p) + [1] * len(r) if left else [1] * len(r) + [0] * len(p)
                         for p, r in zip(pads, rows, strict=True)])  # fmt: skip
    most = max(len(sample) - 1 for sample in samples)
    lengths = torch.tensor(
        [[len(c) for c in s[:-1]] + [0] * (most - len(s) + 1) for s in samples], dtype=torch.long
    )
    return ids.view(len(samples), -1), mask, lengths.view(len(samples), -1)


texts = st.integers(0, 3)
forms = st.fixed_dictionaries(
    {"rows": st.integers(1, 3), "columns": st.integers(1, 3), "num_context": st.integers(0, 2)}
)
samples = st.builds(
    lambda clips, tail: [*clips, tail],
    st.lists(st.lists(texts, min_size=1, max_size=3), max_size=3),
    st.integers(1, 3),
)
batches = st.lists(samples, min_size=1, max_size=3)


@given(fields=forms, samples=batches, left=st.booleans())
def test_placeholders_are_visual_tokens(fields, samples, left):
    shape = form(**fields)
    ids, mask, lengths = batch(shape, samples, left)
    layout = layout_from_ids(ids, shape, attention_mask=mask, clip_lengths=lengths)
    tokens = layout.tokens
    assert torch.equal(layout.kind == Kind.VISUAL, (ids == IMAGE) | (ids == FRAME))
    assert torch.equal(layout.kind == Kind.CONTEXT, ids == CONTEXT)
    assert torch.equal(tokens.valid[:, 0], mask.bool())
    for row, sample in enumerate(samples):
        real = tokens.order[row, 0][mask[row].bool()]
        assert torch.equal(real, torch.arange(len(real)))
        frames = [(clip, t) for clip, units in enumerate(sample[:-1]) for t in range(len(units))]
        for unit, (clip, t) in enumerate(frames):
            own = (tokens.unit[row, 0] == unit) & (layout.kind[row] == Kind.VISUAL)
            spots = [(t, y, x) for y in range(shape.rows) for x in range(shape.columns)]
            assert [tuple(place) for place in layout.place[row][own].tolist()] == spots
            assert set(layout.clip[row][tokens.unit[row, 0] == unit].tolist()) == {clip}
            assert int((tokens.unit[row, 0] == unit).sum()) == shape.num_visual + shape.num_context
        assert int(tokens.unit[row].max()) == len(frames) - 1


@given(fields=forms, samples=batches, left=st.booleans())
def test_splice_then_extract_is_the_identity(fields, samples, left):
    shape = form(**fields)
    ids, mask, lengths = batch(shape, samples, left)
    layout = layout_from_ids(ids, shape, attention_mask=mask, clip_lengths=lengths)
    units = lengths.sum(-1)
    embeds = torch.randn(*ids.shape, 4)
    visual = torch.randn(len(samples), int(units.max()), shape.num_visual, 4)
    visual = visual * (torch.arange(visual.shape[1]) < units[:, None])[..., None, None]
    context = torch.randn(shape.num_context, 4)
    out = splice(embeds, layout, start=0, columns=shape.columns, visual=visual, context=context)
    assert torch.equal(extract(out, layout, columns=shape.columns, num_visual=shape.num_visual), visual)
    text = (layout.kind == Kind.TEXT) | (layout.kind == Kind.PAD)
    assert torch.equal(out[text], embeds[text])
    assert torch.equal(out[layout.kind == Kind.CONTEXT], context.repeat(int(units.sum()), 1))


@given(fields=forms, samples=batches, data=st.data())
def test_splice_in_pieces_is_the_whole(fields, samples, data):
    shape = form(**fields)
    ids, mask, lengths = batch(shape, samples)
    layout = layout_from_ids(ids, shape, attention_mask=mask, clip_lengths=lengths)
    cut = data.draw(st.integers(1, ids.shape[1]))
    embeds = torch.randn(*ids.shape, 4)
    visual = torch.randn(len(samples), int(lengths.sum(-1).max()), shape.num_visual, 4)
    context = torch.randn(shape.num_context, 4)

    def run(start, stop):
        seen = units_in(layout, start, stop)
        known = visual * seen[..., None, None]
        return splice(
            embeds[:, start:stop], layout, start=start, columns=shape.columns, visual=known, context=context
        )

    pieces = torch.cat([run(0, cut), run(cut, ids.shape[1])], dim=1)
    assert torch.equal(pieces, run(0, ids.shape[1]))


def test_gradients_reach_units_and_context():
    shape = form(num_context=1)
    ids, mask, lengths = batch(shape, [[[1], [0, 1], 2]])
    layout = layout_from_ids(ids, shape, attention_mask=mask, clip_lengths=lengths)
    visual = torch.randn(1, 3, 6, 4, requires_grad=True)
    context = torch.randn(1, 4, requires_grad=True)
    splice(
        torch.zeros(*ids.shape, 4), layout, start=0, columns=3, visual=visual, context=context
    ).sum().backward()
    assert torch.equal(visual.grad, torch.ones_like(visual))
    assert torch.equal(context.grad, torch.full_like(context, 3))


def test_frames_with_text_between_them_are_one_clip():
    shape = form(1, 2)
    ids, mask, lengths = batch(shape, [[[0, 2, 1], [1], 1]])
    layout = layout_from_ids(ids, shape, attention_mask=mask, clip_lengths=lengths)
    assert layout.place[0, :, 0].tolist() == [0, 0, -1, -1, 1, 1, -1, 2, 2, -1, 0, 0, -1]
    assert layout.clip[0].tolist() == [0, 0, -1, -1, 0, 0, -1, 0, 0, -1, 1, 1, -1]


def test_without_clip_lengths_every_unit_is_an_image():
    shape = form(1, 2)
    ids = torch.tensor([[IMAGE, IMAGE, IMAGE, IMAGE, 7], [7, IMAGE, IMAGE, 7, 7]])
    layout = layout_from_ids(ids, shape)
    assert layout.tokens.unit[:, 0].tolist() == [[0, 0, 1, 1, -1], [-1, 0, 0, -1, -1]]
    assert layout.place[0, :, 0].tolist() == [0, 0, 0, 0, -1]


def test_packing_the_layout_keeps_it():
    shape = form(num_context=2)
    ids, mask, lengths = batch(shape, [[[1, 0], 2], [3]])
    layout = layout_from_ids(ids, shape, attention_mask=mask, clip_lengths=lengths)
    again = type(layout).unpack(layout.pack())
    assert torch.equal(again.pack(), layout.pack())
    assert again.prior is None
    assert again.segment is None


def test_packing_keeps_segments_and_a_map_bit_by_bit():
    shape = form()
    ids, mask, lengths = batch(shape, [[[1, 0], 2], [3]])
    plain = layout_from_ids(ids, shape, attention_mask=mask, clip_lengths=lengths)
    prior = torch.randn(plain.clip.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    prior[0, 0], prior[0, 1] = -0.0, torch.finfo(torch.float32).min
    layout = replace(plain, segment=plain.place[..., 1], prior=prior)
    again = type(layout).unpack(layout.pack())
    assert torch.equal(again.segment, layout.segment)
    assert again.prior.view(torch.int32).equal(prior.view(torch.int32))
    assert again.extended(layout.length + 2).prior[:, -2:].eq(0).all()


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        ([7, IMAGE, 7, 7, 7], "1 and 0"),
        ([7, IMAGE, 7, IMAGE, 7], "2 and 0"),
        ([7, IMAGE, IMAGE, 7, CONTEXT], "2 and 1"),
        ([CONTEXT, IMAGE, IMAGE, 7, 7], "2 and 1"),
        ([7, 7, 7, 7, IMAGE], "1 and 0"),
        ([IMAGE, IMAGE, CONTEXT, IMAGE, IMAGE], "4 and 1"),
    ],
)
def test_broken_runs_are_refused(ids, found):
    good = [7, IMAGE, IMAGE, CONTEXT, 7]
    with pytest.raises(
        ValueError, match=rf"one run of 2 visual and 1 context placeholders, got {found} in sample 1"
    ):
        layout_from_ids(torch.tensor([good, ids]), form(1, 2, 1))


def test_context_placeholders_of_a_model_without_them_are_refused():
    with pytest.raises(ValueError, match="2 visual and 0 context placeholders, got 2 and 1 in sample 0"):
        layout_from_ids(torch.tensor([[IMAGE, IMAGE, CONTEXT]]), form(1, 2))


@pytest.mark.parametrize("given", [0, 1, 3])
def test_counts_that_differ_name_the_sample(given):
    ids = torch.tensor([[7, 7, 7, 7, IMAGE, IMAGE], [7, IMAGE, IMAGE, IMAGE, IMAGE, 7]])
    with pytest.raises(
        ValueError, match=f"sample 1 has placeholders for 2 images or frames, but clip_lengths counts {given}"
    ):
        layout_from_ids(ids, form(1, 2), clip_lengths=torch.tensor([[1], [given]]))


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(
        ValueError, match=r"attention_mask must have the shape of input_ids \(1, 3\), got \(1, 5\)"
    ):
        layout_from_ids(torch.zeros(1, 3, dtype=torch.long), form(), attention_mask=torch.ones(1, 5))


def test_text_alone_has_a_layout():
    layout = layout_from_ids(
        torch.tensor([[7, 7, 7]]), form(), clip_lengths=torch.zeros(1, 0, dtype=torch.long)
    )
    assert layout.kind.tolist() == [[Kind.TEXT] * 3]
    assert units_in(layout, 0, 3).shape == (1, 0)
