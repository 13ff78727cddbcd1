import logging
import sys

import pytest

from gazekit.attend import GatherBackend, MaskedBackend, NativeBackend, ReferenceBackend, choose, refusals
from tests.attend.cases import CASES, scene
from tests.attend.test_gather import LAST, region_major

UNBUILT = (
    "it is not built yet; build it with `gazekit doctor --build` or set GAZEKIT_NATIVE=1 (a few seconds)"
)


def test_auto_gathers_where_it_can_and_masks_elsewhere():
    decode, prefill = region_major(scene(LAST["image"])), scene(CASES["image"])
    assert isinstance(choose("auto", decode.entries, decode.plan), GatherBackend)
    assert isinstance(choose("auto", prefill.entries, prefill.plan), MaskedBackend)


def test_a_name_is_followed():
    made = region_major(scene(LAST["image"]))
    assert isinstance(choose("masked", made.entries, made.plan), MaskedBackend)
    assert isinstance(choose("reference", made.entries, made.plan), ReferenceBackend)
    assert isinstance(choose("gather", made.entries, made.plan), GatherBackend)


def test_an_unknown_name_is_refused_with_the_nearest():
    made = scene(CASES["image"])
    with pytest.raises(
        ValueError, match=r"backend must be one of auto, .*, got 'maskd'; did you mean 'masked'\?"
    ):
        choose("maskd", made.entries, made.plan)


def test_a_named_backend_that_refuses_says_why():
    made = scene(CASES["image"])
    with pytest.raises(
        ValueError, match=r"backend 'gather' cannot do this: it decodes one query .*; use backend='auto'"
    ):
        choose("gather", made.entries, made.plan)


def test_refusals_name_every_backend():
    decode, prefill = region_major(scene(LAST["image"])), scene(CASES["image"])
    assert refusals(decode.entries, decode.plan) == {
        "reference": None,
        "masked": None,
        "gather": None,
        "native": UNBUILT,
        "flex": "on a CPU torch cannot compile it for one query",
        "triton": "it runs on a CUDA GPU, and the keys lie on cpu",
        "xformers": "query heads that share keys choose apart, and xformers has no mask for each of them",
    }
    refused = refusals(prefill.entries, prefill.plan)
    assert [name for name, reason in refused.items() if reason] == ["gather", "native", "triton", "xformers"]


def test_auto_takes_the_native_kernel_where_it_is_built(native_kernel):
    decode, prefill = region_major(scene(LAST["image"])), scene(CASES["image"])
    assert isinstance(choose("auto", decode.entries, decode.plan), NativeBackend)
    assert isinstance(choose("auto", prefill.entries, prefill.plan), MaskedBackend)


def test_auto_goes_dense_where_most_is_chosen():
    made = region_major(scene(LAST["all regions"]))
    assert isinstance(choose("auto", made.entries, made.plan), MaskedBackend)


def test_the_choice_is_logged_once_for_each_answer(caplog, monkeypatch):
    module = sys.modules["gazekit.attend.choose"]
    monkeypatch.setattr(module, "_said", set())
    decode, prefill = region_major(scene(LAST["image"])), scene(CASES["image"])
    most = region_major(scene(LAST["all regions"]))
    with caplog.at_level(logging.INFO, logger="gazekit.attend.choose"):
        for made in (decode, decode, prefill, decode, most, prefill):
            choose("auto", made.entries, made.plan)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3
    assert said[0].startswith("backend auto: gather; not triton: it runs on a CUDA GPU")
    assert said[0].endswith(f"; not native: {UNBUILT}; not asked: flex, masked")
    assert said[1].startswith("backend auto: masked; not triton: ")
    assert "; not native: it decodes one query per sample" in said[1]
    assert "not gather: a head looks at 16 of 36 entries" in said[2]
