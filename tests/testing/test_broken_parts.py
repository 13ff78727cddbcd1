"""Each law catches the part that breaks it, and says which law it was."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from gazekit.testing import laws

_spec = importlib.util.spec_from_file_location("broken_parts", Path(__file__).with_name("broken.py"))
broken = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(broken)
_spec = importlib.util.spec_from_file_location("broken_sums", Path(__file__).with_name("broken_sums.py"))
sums = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sums)

settings.register_profile(
    "hunt", max_examples=120, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)

settings.register_profile("glance", settings.get_profile("hunt"), max_examples=30)

ROUTERS = {
    "unique": broken.Router(after=broken.repeats),
    "ascending": broken.Router(after=lambda index, view: index.flip(-1)),
    "shape and type": broken.Router(after=lambda index, view: index.long()),
    "complete": broken.Router(view=broken.everything_complete),
    "own document": broken.Router(view=broken.any_document),
    "reads only complete regions": broken.Router(scores=broken.reads_all_scores),
    "same answer twice": broken.Router(scores=broken.counts_calls()),
    "chunked rows are all rows": broken.Router(scores=broken.depends_on_row_number),
    "batch is one by one": broken.Router(scores=broken.depends_on_sample_number),
    "packed is one by one": broken.Router(scores=broken.depends_on_document_number),
    "permuting regions permutes the answer": broken.Router(scores=broken.prefers_high_numbers),
    "openness one is dense": broken.Router(view=broken.never_quite_open),
    "opening only adds": broken.Router(view=broken.closes_backwards),
    "larger k contains smaller k": broken.Stride(),
    "ties go to the lowest id": broken.LastOfTies(),
    "whole mass keeps all": broken.HalfNucleus(),
    "larger mass contains smaller mass": broken.HalfNucleus(strides=True),
}
PARTITIONERS = {
    "covers": broken.Partition(broken.drops_a_token),
    "fields are true": broken.Lies(),
    "numbered as they begin": broken.Partition(broken.counts_from_the_end),
    "documents stay apart": broken.Partition(broken.one_region_for_all),
    "clips stay apart": broken.Partition(broken.one_region_a_document),
    "stable when the sequence grows": broken.Partition(broken.longer_prompts_coarser),
    "complete regions stay as they are": broken.HastyRuns(),
    "packed is one by one": broken.LaterShifted(broken.drops_a_token),
    "one frame is flat": broken.Spread(broken.drops_a_token),
    "finer refines coarser": broken.Shifted(broken.drops_a_token),
}
POOLERS = {
    "shape and width": broken.Pooler(scores=broken.half),
    "reads only members": broken.Pooler(regions=broken.pads_join_the_first_region),
    "padding changes nothing": broken.Padded(),
    "batch is one by one": broken.Pooler(scores=broken.normed_over_batch),
    "chunked rows are all rows": broken.Pooler(scores=broken.normed),
    "order of members is irrelevant": broken.Pooler(look=broken.weighted_by_place),
    "constant in constant out": broken.Pooler(look=broken.centred),
    "between its members": broken.Pooler(scores=broken.doubled),
}
BACKENDS = {
    "says why it refuses": broken.Backend(reason=lambda plan: " "),
    "equals the rules": broken.Backend(plan=broken.forgets_the_selection),
    "gradients equal the rules": broken.Backend(entries=broken.stops_the_gradient_of_keys),
    "unseen entries get no gradient": broken.Backend(out=broken.leaks_a_gradient),
    "all regions is dense": broken.Backend(plan=broken.closes_open_regions),
    "order of entries is irrelevant": broken.Backend(out=broken.adds_place),
    "batch is one by one": broken.Backend(out=broken.adds_batch),
    "packed is one by one": broken.Backend(plan=broken.mixes_documents, entries=broken.mixes_entries),
    "left padding changes nothing": broken.Backend(out=broken.biased_padding),
    "nothing seen gives zeros": broken.Backend(out=broken.nan_where_blind),
    "gradcheck": broken.Backend(entries=broken.stops_the_gradient_of_keys),
}
LEAKS = {
    "the first head's choice for all": broken.first_head_for_all,
    "open regions shut": broken.closes_open_regions,
    "nothing kept": broken.forgets_what_is_kept,
    "context that looks around": broken.lets_context_look_around,
    "every region": broken.forgets_the_selection,
}
SCHEDULES = {
    "within bounds": broken.Beyond(),
    "never rises": broken.Rises(),
    "starts dense": broken.Later(),
    "ends at the target": broken.Later(),
}
CONTEXTS = {
    "counts its tokens": broken.Context(num_tokens=-1),
    "shape and type": broken.Context(rule=broken.floats),
    "elementwise": broken.Context(rule=broken.first_keys),
    "packed is one by one": broken.Context(rule=broken.first_document),
}
COMBINES = {
    "shape and type": sums.Combine(sums.wider),
    "linear in the branches": sums.Combine(sums.softmax_of_branches),
    "every branch counts": sums.Combine(sums.first_branch),
    "between the branches": sums.Combine(sums.added),
    "queries answer by themselves": sums.Combine(sums.weighed_by_place),
    "batch is one by one": sums.Combine(sums.weighed_by_sample),
}
LOSSES = {
    "weight and detach are said": sums.Loss(weight=-1.0),
    "never negative": sums.Loss(after=sums.below_zero),
    "chunks of rows add up": sums.Loss(after=sums.mean_of_rows),
    "samples add up": sums.Loss(after=sums.mean_of_samples),
    "reads only complete regions": sums.Loss(view=sums.everything_complete),
    "nothing to choose costs nothing": sums.Loss(after=sums.counts_rows),
    "a step against the gradient lowers it": sums.Loss(after=sums.other_way),
}
STORES = {
    broken.ForgetsOnReorder: "members|begin|lies at|holds the tokens|was not added|differs from plain",
    broken.KeepsKeysOnReorder: "has a key that was not added",
    broken.ForgetsMarks: "holds the tokens",
    broken.KeepsForAllHeads: "holds the tokens",
    broken.CountsReal: "length is",
    broken.WrongPlaces: "lies at",
}
ROOMS = {
    "route": (laws.route.LAWS + laws.route.NUCLEUS_LAWS, ROUTERS),
    "partition": (laws.partition.LAWS + laws.partition.GRID_LAWS, PARTITIONERS),
    "pool": (laws.pool.LAWS, POOLERS),
    "attend": (laws.attend.LAWS, BACKENDS),
    "schedule": (laws.schedule.LAWS, SCHEDULES),
    "context": (laws.context.LAWS, CONTEXTS),
    "combine": (laws.combine.LAWS, COMBINES),
    "loss": (laws.loss.LAWS, LOSSES),
}


@pytest.fixture(autouse=True)
def hunt() -> Iterator[None]:
    """The same cases each time, enough of them, and no time spent on making them small."""
    before = settings.get_current_profile_name()
    settings.load_profile("hunt")
    yield
    settings.load_profile(before)


@pytest.mark.parametrize("room", ROOMS)
def test_every_law_has_a_part_that_breaks_it(room: str) -> None:
    found, parts = ROOMS[room]
    assert {law.name for law in found} == set(parts)


@pytest.mark.parametrize(
    ("room", "name"), [(room, name) for room, (_, parts) in ROOMS.items() for name in parts]
)
def test_a_broken_part_is_caught_by_its_law(room: str, name: str) -> None:
    found, parts = ROOMS[room]
    law = next(law for law in found if law.name == name)
    with pytest.raises(AssertionError, match=f"breaks the law '{name}'"):
        law(parts[name])


@pytest.mark.parametrize("leak", LEAKS)
def test_a_backend_that_sees_too_much_or_too_little_is_caught(leak: str) -> None:
    with pytest.raises(AssertionError, match="breaks the law 'equals the rules'"):
        laws.attend.equals_the_rules(broken.Backend(plan=LEAKS[leak]))


@pytest.mark.parametrize("store", STORES)
def test_a_broken_store_is_caught(store: type) -> None:
    with pytest.raises(AssertionError, match=f"(?s)breaks the laws of stores.*({STORES[store]})"):
        laws.check_store(store)


@pytest.mark.parametrize(
    ("check", "part"),
    [
        (laws.check_router, ROUTERS["unique"]),
        (laws.check_router, ROUTERS["complete"]),
        (laws.check_partitioner, PARTITIONERS["covers"]),
        (laws.check_grid, PARTITIONERS["finer refines coarser"]),
        (laws.check_pooler, POOLERS["reads only members"]),
        (laws.check_backend, BACKENDS["unseen entries get no gradient"]),
        (laws.check_schedule, SCHEDULES["never rises"]),
        (laws.check_context, CONTEXTS["elementwise"]),
        (laws.check_combine, COMBINES["linear in the branches"]),
        (laws.check_loss, LOSSES["samples add up"]),
    ],
)
def test_the_check_of_a_room_finds_it_too(check, part) -> None:
    settings.load_profile("glance")
    with pytest.raises(AssertionError, match="breaks the law"):
        check(part)
