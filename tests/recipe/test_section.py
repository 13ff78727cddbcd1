"""Parts out of plain values: what signatures accept, what they refuse and in which words."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gazekit.contracts import Kind, Sizes
from gazekit.contracts.section import Implied, Node, SectionError, admit, build, check, to_section

SIZES = {"num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "head_dim": 8, "hidden_dim": 32}


def lines(tree, toys, expect=Any):
    return [str(fault) for fault in check(tree, expect, [toys])]


def frame(**arguments):
    return {"_target_": "toy_parts.Frame", **arguments}


def lens(**arguments):
    return {"_target_": "toy_parts.Lens", **arguments}


@given(st.lists(st.integers(1, 99), min_size=5, max_size=5))
def test_writing_then_building_gives_an_equal_part(numbers):
    part = Sizes(**dict(zip(SIZES, numbers, strict=True)))
    assert build(to_section(part)) == part
    assert build(to_section([part, {"a": part}])) == [part, {"a": part}]


def test_every_kind_of_value_comes_back(toys):
    admit([toys])
    import toy_parts

    part = toy_parts.Frame(
        size=(4, 5, 6),
        steps=(7,),
        weights={"tower": 1e-4, "rest": None},
        colour=toy_parts.Colour.GREEN,
        colours=frozenset(toy_parts.Colour),
        where=Path("a/b"),
        lens=toy_parts.Lens(power=2),
        stack=[toy_parts.Lens(power=3)],
        flag=True,
        anything=[1, {"x": "y"}],
        count="many",
    )
    section = to_section(part)
    assert section["colours"] == ["green", "red"]
    assert section["where"] == "a/b"
    assert build(section, imports=[toys]) == part


def test_values_are_converted_as_hints_say(toys):
    part = build(frame(weights={"a": 1}, size=[1, 1, 1], stack=[lens(power=1, width=2)]), imports=[toys])
    assert part.size == (1, 1, 1)
    assert type(part.weights["a"]) is float
    assert type(part.stack[0].width) is float
    assert build(["text", "visual"], frozenset[Kind]) == {Kind.TEXT, Kind.VISUAL}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            {"size": [1, 2]},
            "size: must be a list of 3 (a whole number, a whole number, a whole number), got [1, 2]",
        ),
        ({"size": [1, 2.5, 3]}, "size.1: must be a whole number, got 2.5"),
        ({"size": 3}, "size: must be a list of 3 (a whole number, a whole number, a whole number), got 3"),
        ({"steps": [True]}, "steps.0: must be a whole number, got True"),
        ({"weights": {"a": "x"}}, "weights.a: must be a number or null, got 'x'"),
        ({"weights": [1]}, "weights: must be a mapping to a number or null, got [1]"),
        ({"colour": "gren"}, "colour: must be red or green, got 'gren'; did you mean `green`?"),
        ({"where": 3}, "where: must be a path or null, got 3"),
        ({"lens": 3}, "lens: must be a Lens or null, got 3"),
        ({"lens": {"power": "1"}}, "lens.power: must be a whole number, got '1'"),
        ({"lens": frame()}, "lens._target_: toy_parts.Frame is not a Lens"),
        ({"stack": {"power": 1}}, "stack: must be a list of a Lens, got {'power': 1}"),
        ({"flag": 1}, "flag: must be true or false, got 1"),
        ({"flag": "yes"}, "flag: must be true or false, got 'yes'"),
        ({"act": lens(power=1)}, "act._target_: toy_parts.Lens cannot be called"),
        ({"count": None}, "count: must be a whole number or text, got null"),
        ({"anything": lens(powr=1, power=1)}, "anything.powr: is unknown; toy_parts.Lens takes power,"),
        ({"anything": [{"deep": lens(power=0)}]}, "anything.0.deep.power: power must be at least 1, got 0"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_rule(toys, arguments, line):
    (found,) = lines(frame(**arguments), toys)
    assert found.startswith(line)


def test_a_text_that_yaml_took_for_a_number_wants_quotes(toys):
    assert lines(lens(power=1, label=3), toys) == ["label: must be text, got 3; put it in quotes"]


def test_a_literal_names_its_neighbour(toys):
    assert lines(lens(power=1, coating="bleu"), toys) == [
        "coating: must be none or blue or amber, got 'bleu'; did you mean `blue`?"
    ]
    assert check(True, Literal[1, 2])[0].problem == "must be 1 or 2, got True"


def test_all_faults_come_at_once(toys):
    tree = frame(
        lens=lens(powr=2, coating="blu", width=-1),
        stack=[lens(power=0, width=0), {"_target_": "toy_parts.Lenz"}, lens()],
        szie=[1],
        colour="blue",
    )
    assert [fault.path for fault in check(tree, imports=[toys])] == [
        "lens.powr", "lens.coating", "lens.power", "stack.0.power", "stack.1._target_", "stack.2.power",
        "szie", "colour",
    ]  # fmt: skip


def test_one_broken_rule_of_a_part_does_not_hide_the_next(toys):
    tree = {"_target_": "toy_parts.Lens", "width": -1.0, "power": 1, "nothing": 3}
    assert [fault.path for fault in check(tree, imports=[toys])] == ["nothing", "width"]


def test_a_rule_between_values_is_told_of_the_whole_part(toys):
    assert lines({"x": lens(power=1, label="both")}, toys) == ["x: a label of both needs a coating"]


def test_rules_between_values_wait_while_other_faults_stand(toys):
    assert [f.path for f in check(lens(power=1, label="both", coating="bleu"), imports=[toys])] == ["coating"]


def test_checking_builds_nothing_that_is_not_cheap(toys):
    admit([toys])
    import toy_parts

    before = toy_parts.Body.built
    tree = {"_target_": "toy_parts.Body", "lens": lens(power=1), "shutter": 2.0}
    assert check(tree, imports=[toys]) == []
    assert toy_parts.Body.built == before
    with pytest.raises(SectionError, match=r"shutter: shutter must be at most 1, got 2\.0"):
        build(tree, imports=[toys])
    assert toy_parts.Body.built == before + 1


def test_a_part_that_gets_its_weights_later_is_tried(toys):
    assert lines({"_target_": "toy_parts.Weighted", "rank": 0}, toys) == [
        "rank: rank must be at least 1, got 0"
    ]


def test_keyword_rests_open_no_door_for_typos(toys):
    tree = {"_target_": "toy_parts.Body", "lens": lens(power=1), "shuter": 0.5}
    assert lines(tree, toys) == ["shuter: is unknown; known here: lens, shutter; did you mean `shutter`?"]


def test_a_protocol_is_fulfilled_by_methods_their_arguments_and_properties(toys):
    def told(name):
        tree = {"_target_": "toy_parts.Holder", "viewer": {"_target_": f"toy_parts.{name}"}}
        return [f"{fault.path}: {fault.problem}" for fault in check(tree, imports=[toys])]

    assert told("GoodViewer") == []
    assert told("NarrowViewer") == [
        "viewer._target_: toy_parts.NarrowViewer is not a Viewer: its __call__ does not take (scores, view)"
    ]
    assert told("ReachlessViewer") == [
        "viewer._target_: toy_parts.ReachlessViewer is not a Viewer: it has no reach"
    ]
    assert told("Weighted") == ["viewer._target_: toy_parts.Weighted is not a Viewer: it has no describe"]
    assert told("Frame") == ["viewer._target_: toy_parts.Frame is not a Viewer: it has no __call__"]


def test_a_users_function_stands_for_what_it_says_it_returns(toys):
    tree = frame(lens={"_target_": "toy_parts.grind", "power": 4})
    assert build(tree, imports=[toys]).lens.power == 4
    (line,) = lines(frame(lens={"_target_": "toy_parts.silent", "power": 4}), toys)
    assert "is a function that does not say what it returns, where a Lens is asked for" in line


def test_an_implied_target_need_not_be_written_but_may(toys):
    hint = Annotated[object, Implied("gazekit.contracts.Sizes")]
    assert (
        build(SIZES, hint) == build({"_target_": "gazekit.contracts.Sizes", **SIZES}, hint) == Sizes(**SIZES)
    )
    assert build([SIZES], list[hint]) == [Sizes(**SIZES)]
    (fault,) = check(lens(power=1), hint, [toys])
    assert str(fault) == "_target_: toy_parts.Lens is not a Sizes"
    assert "must be a mapping with `_target_`" in str(check(3, hint)[0])


def test_a_node_must_name_its_target(toys):
    assert build(lens(power=2), Node, [toys]).power == 2
    assert lines({"a": 1}, toys, Node) == ["must be a mapping with `_target_`, got {'a': 1}"]
    assert lines({"_target_": 3}, toys, Node) == [
        "_target_: must be an import path such as gazekit.route.TopKRouter, got 3"
    ]


def test_what_the_program_offers_need_not_be_written(toys):
    data = {"_target_": "toy_parts.Dataset"}
    hint = Annotated[object, Implied(None, offers=("processor", "batch_size"))]
    assert [fault.path for fault in check(data, imports=[toys])] == ["processor"]
    assert check(data, hint | None, [toys]) == []
    offered = {"processor": "P", "batch_size": 8, "rows": 99}
    built = build(data, hint | None, [toys], offered)
    assert (built.processor, built.batch_size, built.rows) == ("P", 8, 4), "rows is no offer of the hint"
    built = build({**data, "batch_size": 2}, hint, [toys], offered)
    assert built.batch_size == 2, "what is written goes first"
    with pytest.raises(SectionError, match="processor"):
        build(data, hint, [toys])


def test_the_better_of_two_readings_is_reported(toys):
    hint = Mapping[str, int] | list[int] | int
    assert [str(f) for f in check({"a": 1, "b": "x"}, hint)] == ["b: must be a whole number, got 'x'"]
    assert [str(f) for f in check([1, 2, "y"], hint)] == ["2: must be a whole number, got 'y'"]


@pytest.mark.parametrize(
    ("value", "hint", "words"),
    [
        (3, Callable[[int], int], "written as a mapping with `_target_`"),
        ("x" * 99, list, "got 'xxx"),
        (1, Sizes, "must be a Sizes: a mapping with `_target_`, got 1"),
    ],
)
def test_what_cannot_be_written_plainly_is_said(value, hint, words):
    (fault,) = check(value, hint)
    assert words in fault.problem
    assert len(fault.problem) < 140


def test_a_part_that_forgets_its_arguments_cannot_be_written(toys):
    admit([toys])
    import torch
    import toy_parts

    with pytest.raises(
        ValueError, match=r"keeps no attribute for its argument power; set self\.power in __init__"
    ):
        to_section(toy_parts.Forgetful())
    with pytest.raises(ValueError, match="a Tensor cannot be written in a section"):
        to_section({"a": torch.zeros(1)})
    assert to_section(toy_parts.Body(lens=toy_parts.Lens(power=1)))["lens"]["power"] == 1


def test_an_error_counts_and_lists_its_faults(toys):
    with pytest.raises(
        SectionError, match=r"(?s)^2 faults in the section:\n  power: .*\n  widht: "
    ) as caught:
        build({"_target_": "toy_parts.Lens", "power": "x", "widht": 1}, imports=[toys])
    assert [fault.nearest for fault in caught.value.faults] == [None, "width"]
