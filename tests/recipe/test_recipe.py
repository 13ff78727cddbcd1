"""The laws of recipes: what is shown loads again, and no typo passes."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gazekit.recipe import Recipe, RecipeError, SectionError, check, load, parse, show

TOYS = str(Path(__file__).with_name("toy_parts.py"))

words = st.text(max_size=12).filter(lambda text: text != "???" and "\ue000" not in text)
letters = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=8)
looks_like_yaml = st.sampled_from(
    ["1e-3", "0x10", "010", "yes", "null", "~", "", " a ", "a: b", "- a", "# a", "${seed}", "\\${a}",
     "a\\\\${b}\\", "!!python/name:os.system", "1:30", "2024-01-01", "1_000", "<<", "=", "*a", "&a", "'", '"',
     "a\n\nb\n", "\t", "%a"]
)  # fmt: skip
numbers = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | numbers | words | looks_like_yaml
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


def part(name, **arguments):
    optional = {key: strategy for key, strategy in arguments.items() if key != "power"}
    required = {key: strategy for key, strategy in arguments.items() if key == "power"}
    return st.fixed_dictionaries({"_target_": st.just(f"toy_parts.{name}"), **required}, optional=optional)


lenses = part(
    "Lens",
    power=st.integers(1, 9),
    coating=st.sampled_from(["none", "blue", "amber"]),
    width=st.floats(0.5, 9),
    label=words.filter(lambda text: text != "both"),
)
frames = part(
    "Frame",
    size=st.lists(st.integers(), min_size=3, max_size=3),
    steps=st.lists(st.integers(), max_size=3),
    weights=st.dictionaries(words, st.none() | numbers, max_size=3),
    colour=st.sampled_from(["red", "green"]),
    where=st.none() | words,
    lens=st.none() | lenses,
    stack=st.lists(lenses, max_size=2),
    flag=st.booleans(),
    anything=trees.filter(lambda tree: "_target_" not in repr(tree)),
    count=st.integers() | words,
)
sections = frames | lenses
recipes = st.fixed_dictionaries(
    {
        "name": words,
        "seed": st.integers(0, 2**32),
        "imports": st.just((TOYS,)),
        "model": st.none() | sections,
        "data": st.none() | sections | st.dictionaries(letters, sections, min_size=1, max_size=2),
        "training": st.none() | sections,
        "evaluate": st.none() | sections | st.lists(sections, min_size=1, max_size=2),
        "logging": st.none() | sections,
    }
)


@given(recipe=recipes)
def test_what_is_shown_loads_again(recipe):
    recipe = Recipe(**recipe)
    assert parse(show(recipe)) == recipe
    assert check(recipe) == []


@given(recipe=recipes)
def test_what_is_shown_loads_again_from_a_file(recipe, tmp_path_factory):
    recipe = Recipe(**recipe)
    path = tmp_path_factory.mktemp("runs") / "recipe.yaml"
    path.write_text(show(recipe), encoding="utf-8")
    assert load(path) == recipe


def key_paths(tree, path=()):
    """Where every key stands that a signature, not a free mapping, knows."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            if key != "_target_":
                yield (*path, key)
            if key not in ("anything", "weights"):
                yield from key_paths(value, (*path, key))
    elif isinstance(tree, list):
        for place, value in enumerate(tree):
            yield from key_paths(value, (*path, place))


def renamed(tree, path, name):
    """The tree with one key renamed, in place; the order of keys is kept."""
    for step in path[:-1]:
        tree = tree[step]
    items = [(name if key == path[-1] else key, value) for key, value in tree.items()]
    tree.clear()
    tree.update(items)


def mistyped(word, chance):
    """A word with one letter dropped, doubled, swapped or replaced."""
    at = chance.randrange(len(word))
    swapped = word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :]
    forms = [
        word[:at] + word[at + 1 :],
        word[: at + 1] + word[at:],
        swapped,
        word[:at] + "z" + word[at + 1 :],
    ]
    return chance.choice([form for form in forms if form != word])


FULL = {
    "model": {
        "_target_": "toy_parts.Frame",
        "size": [1, 2, 3],
        "steps": [4],
        "weights": {"free": 1.0},
        "colour": "red",
        "lens": {"_target_": "toy_parts.Lens", "power": 2, "coating": "blue", "width": 1.0, "label": "x"},
        "stack": [{"power": 1}, {"_target_": "toy_parts.Lens", "power": 3, "width": 2.0}],
        "anything": {"free": 1},
    },
    "gaze": {
        "partition": {"_target_": "gazekit.partition.GridPartition", "size": [1, 2, 2]},
        "pool": {"_target_": "gazekit.pool.MeanPooler"},
        "route": {"_target_": "gazekit.route.TopKRouter", "k": 2, "share": "group"},
        "schedule": {"_target_": "gazekit.schedule.ProgressiveSchedule", "shape": "cosine", "end": 0.5},
        "context": {"_target_": "gazekit.context.LearnedContext", "num_tokens": 4},
        "backend": "auto",
        "visual_scope": "own_unit",
    },
    "training": {
        "stages": [{"name": "align", "steps": 3, "batch_size": 2, "learning_rates": {"projector": 1e-3}}]
    },
    "seed": 3,
}  # fmt: skip
NAMED = [path for path in key_paths(FULL) if path != ("training", "stages", 0, "learning_rates", "projector")]


def faults_of(tree):
    """The faults of a recipe; JSON is YAML."""
    try:
        parse(json.dumps({"imports": [TOYS], **tree}))
    except RecipeError as error:
        return list(error.faults)
    return []


def dotted(path):
    return ".".join(map(str, path))


def test_the_full_recipe_is_sound():
    assert faults_of(FULL) == []


@given(path=st.sampled_from(NAMED), chance=st.randoms(use_true_random=False))
def test_a_mistyped_key_fails_and_names_its_neighbour(path, chance):
    word = mistyped(path[-1], chance)
    assume(word)
    tree = copy.deepcopy(FULL)
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    assume(word not in parent)
    renamed(tree, path, word)
    place = dotted((*path[:-1], word))
    (fault,) = [fault for fault in faults_of(tree) if fault.path == place]
    assert "is unknown" in fault.problem
    assert path[-1] in (fault.nearest, *fault.problem.replace(",", "").split())
    if len(path[-1]) >= 4:
        assert fault.nearest == path[-1]


@given(chance=st.randoms(use_true_random=False), count=st.integers(2, 6))
def test_several_typos_are_all_reported(chance, count):
    tree, places = copy.deepcopy(FULL), []
    chosen = sorted(chance.sample(NAMED, count), key=len, reverse=True)
    for path in chosen:
        renamed(tree, path, f"{path[-1]}x")
    for path in chosen:
        shown = [f"{step}x" if path[: depth + 1] in chosen else step for depth, step in enumerate(path)]
        # below a key that is not known nothing is: only parts that name themselves are read there
        if not any(path[:depth] in chosen for depth in range(1, len(path))):
            places.append(dotted(shown))
    found = {fault.path for fault in faults_of(tree)}
    assert set(places) <= found


@given(path=st.sampled_from(NAMED), junk=st.sampled_from([{"no": 1}, [[]], {"_target_": "os.system"}]))
def test_a_wrong_value_always_fails(path, junk):
    assume(path[-1] not in ("anything", "weights", "learning_rates"))
    tree = copy.deepcopy(FULL)
    parent = tree
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = junk
    assert any(fault.path.startswith(dotted(path)) for fault in faults_of(tree))


@pytest.mark.parametrize("key", ["bse", "gaez", "imprts", "Seed"])
def test_a_mistyped_section_names_the_right_one(key):
    (fault,) = faults_of({key: 3})
    assert fault.nearest == {"bse": "base", "gaez": "gaze", "imprts": "imports", "Seed": "seed"}[key]
    assert fault.path == key


def test_all_kinds_of_faults_come_at_once():
    text = """
    sead: 3
    seed: "4"
    gaze:
      partition: {_target_: gazekit.partition.GridPartitoin, siz: [1, 2]}
      route: {_target_: gazekit.route.TopKRouter, k: 0, share: heads}
      schedule: {_target_: gazekit.schedule.ProgressiveSchedule, shape: cosin, start: '${nowhere}', end: soon}
      context: {_target_: os.system, command: ls}
      pool: {_target_: gazekit.route.TopKRouter, k: 4}
    model: ???
    data: {_target_: gazekit.data.DigitsData, batch_size: 2.5}
    """
    with pytest.raises(RecipeError) as caught:
        parse(text)
    assert {fault.path for fault in caught.value.faults} == {
        "sead", "seed", "gaze.partition._target_", "gaze.route.k", "gaze.route.share", "gaze.schedule.shape",
        "gaze.schedule.start", "gaze.context._target_", "gaze.pool._target_", "model", "data.batch_size",
        "gaze.schedule.end",
    }  # fmt: skip
    near = {fault.path: fault.nearest for fault in caught.value.faults}
    assert near["gaze.partition._target_"] == "gazekit.partition.GridPartition"
    assert near["gaze.route.share"] == "head"


def test_a_recipe_builds_its_sections():
    recipe = parse(json.dumps({"imports": [TOYS], **FULL}))
    gaze = recipe.build("gaze")
    assert (gaze.route.k, gaze.route.share, gaze.context.num_tokens) == (2, "group", 4)
    assert recipe.build("model").stack[0].power == 1
    assert recipe.build("training").stages[0].name == "align"
    assert recipe.build("logging") is None
    with pytest.raises(ValueError, match=r"section must be one of name, .*got 'gase'"):
        recipe.build("gase")


def test_a_list_of_compositions_builds_a_list():
    recipe = parse("gaze: [{route: null}, {route: null, backend: masked}]")
    assert [gaze.backend for gaze in recipe.build("gaze")] == ["auto", "masked"]


def test_data_takes_what_the_program_offers():
    recipe = parse(f"imports: [{TOYS}]\ndata: {{_target_: toy_parts.Dataset, rows: 9}}")
    data = recipe.build("data", processor="P", batch_size=3, num_steps=4)
    assert (data.processor, data.batch_size, data.rows) == ("P", 3, 9)
    with pytest.raises(SectionError, match="processor"):
        recipe.build("data")


def test_check_takes_overrides_on_a_recipe_at_hand():
    recipe = parse("seed: 1")
    assert check(recipe, ["seed=2"]) == []
    (fault,) = check(recipe, ["sed=2"])
    assert fault.nearest == "seed"
