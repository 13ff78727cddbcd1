"""Bases, overrides and interpolations: what lies over what."""

import textwrap
from pathlib import Path

import pytest

from gazekit.recipe import RecipeError, check, load, names, parse, show
from gazekit.recipe.merge import merge, put, steps_of

HERE = Path(__file__).parent
LENS = "{_target_: toy_parts.Lens, power: 2, coating: blue}"


@pytest.fixture
def folder(tmp_path, toys):
    """A folder with a recipe `ground` that others start from."""
    write(tmp_path, "ground.yaml", f"imports: [{toys}]\nseed: 4\nmodel: {LENS}\ndata: {LENS}")
    return tmp_path


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def told(path, *overrides):
    return [str(fault) for fault in check(path, overrides)]


def test_a_recipe_is_laid_over_its_base(folder):
    write(folder, "middle.yaml", "base: ground\nmodel: {power: 3}\nlogging: {_target_: toy_parts.Frame}")
    recipe = load(write(folder, "top.yaml", "base: middle.yaml\nmodel: {width: 2.0}\ndata: null"))
    assert recipe.model == {"_target_": "toy_parts.Lens", "power": 3, "coating": "blue", "width": 2.0}
    assert (recipe.name, recipe.seed, recipe.data) == ("top", 4, None)
    assert recipe.logging == {"_target_": "toy_parts.Frame"}


def test_a_base_is_found_relative_to_the_file_that_names_it(folder, monkeypatch):
    path = write(folder, "far/below/top.yaml", "base: ../middle.yaml")
    write(folder, "far/middle.yaml", "base: ../ground.yaml\nseed: 5")
    monkeypatch.chdir("/")
    assert load(path).seed == 5


def test_a_base_of_ones_own_name_is_the_one_that_comes_with_gazekit(folder):
    recipe = load(write(folder, "tiny.yaml", "base: tiny\nseed: 123"))
    assert (recipe.name, recipe.seed) == ("tiny", 123)
    assert recipe.model is not None


def test_bases_that_lead_back_are_refused(folder):
    write(folder, "a.yaml", "base: b")
    path = write(folder, "b.yaml", "base: a")
    (line,) = told(path)
    assert line.startswith("base: leads back to itself: ")
    assert line.count(" -> ") == 2
    assert told(write(folder, "self.yaml", "base: self.yaml"))[0].startswith("base: leads back to itself")


def test_a_base_that_is_not_there_names_the_nearest(folder):
    assert told(write(folder, "x.yaml", "base: grund.yaml"))[0].endswith(
        f"did you mean `{folder / 'ground.yaml'}`?"
    )
    assert told(write(folder, "y.yaml", "base: tinny"))[0].endswith("did you mean `tiny`?")
    assert told(write(folder, "z.yaml", "base: [a, b]")) == [
        "base: must be the name or path of one recipe, got ['a', 'b']"
    ]


def test_another_target_replaces_the_part_and_the_same_one_does_not(folder):
    path = write(
        folder, "x.yaml", "base: ground\nmodel: {_target_: toy_parts.Frame}\ndata: {_target_: toy_parts.Lens}"
    )
    assert load(path).model == {"_target_": "toy_parts.Frame"}
    assert load(path).data["coating"] == "blue"


def test_imports_of_a_base_stay_and_files_become_absolute(folder, monkeypatch):
    write(folder, "extra_part.py", "class Extra:\n    pass\n")
    recipe = load(write(folder, "x.yaml", "base: ground\nimports: [extra_part.py, math]"))
    assert [Path(entry).name for entry in recipe.imports] == ["toy_parts.py", "extra_part.py", "math"]
    assert recipe.imports[1] == str(folder / "extra_part.py")
    monkeypatch.chdir("/")
    assert parse(show(recipe)) == recipe
    assert load(folder / "x.yaml", [f"imports=[{folder}/extra_part.py, string]"]).imports[2:] == (
        "math",
        "string",
    )


def test_keys_with_dots_are_overrides_of_the_file(folder):
    recipe = load(
        write(
            folder, "x.yaml", "base: ground\nmodel.power: 5\ndata._target_: toy_parts.Frame\ndata.flag: yes"
        )
    )
    assert recipe.model["power"] == 5
    assert recipe.data == {"_target_": "toy_parts.Frame", "flag": True}


def test_overrides_are_yaml_at_dotted_paths(folder):
    path = write(folder, "x.yaml", f"base: ground\nlogging: [{LENS}, {LENS}]")
    recipe = load(
        path,
        [
            "model.power=7",
            "model.label='7'",
            "model.width=1e-3",
            "seed=9",
            "logging.1.power=8",
            "logging[0].power=3",
        ],
    )
    assert recipe.model["power"] == 7
    assert recipe.model["label"] == "7"
    assert recipe.model["width"] == 0.001
    assert recipe.seed == 9
    assert [lens["power"] for lens in recipe.logging] == [3, 8]
    recipe = load(
        path, ["model={_target_: toy_parts.Frame, steps: [1, 2]}", "logging=null", "data.label=a=b"]
    )
    assert recipe.model == {"_target_": "toy_parts.Frame", "steps": [1, 2]}
    assert recipe.logging is None
    assert recipe.data["label"] == "a=b"


def test_a_target_is_laid_first_whatever_the_order(folder):
    path = folder / "ground.yaml"
    for overrides in (
        ["model._target_=toy_parts.Frame", "model.flag=true"],
        ["model.flag=true", "model._target_=toy_parts.Frame"],
    ):
        assert load(path, overrides).model == {"_target_": "toy_parts.Frame", "flag": True}
    assert load(path, ["model._target_=toy_parts.Lens"]).model["coating"] == "blue"


def test_the_last_of_two_overrides_holds(folder):
    assert load(folder / "ground.yaml", ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("seed", "seed: 'seed' is no override: write path=value, as in gaze.route.k=8"),
        ("=3", "'=3' is no override"),
        ("seed=[1", "seed: '[1' is not YAML: "),
        ("seed.x=1", "seed.x: seed is 4, which has no x"),
        ("logging.5.power=1", "logging.5.power: logging is a list, whose items are numbered 0 to 0, got '5'"),
        ("logging.power=1", "logging.power: logging is a list, whose items are numbered 0 to 0, got 'power'"),
        ("base=tiny", "base: cannot be overridden; name that recipe instead"),
        ("modle.power=3", "modle: is unknown; known here: name,"),
        ("model.powr=3", "model.powr: is unknown; toy_parts.Lens takes power, coating, width, label; did you mean"),
        ("evaluate.x=1", "evaluate: must be a mapping with `_target_`"),
        ("imports=[nowhere.py]", "imports.1: there is no file"),
        ("imports=3", "imports: must be a list of module names and .py files, got 3"),
    ],
)  # fmt: skip
def test_a_faulty_override_is_told_at_its_path(folder, override, line):
    path = write(folder, "x.yaml", f"base: ground\nlogging: [{LENS}]")
    (found,) = told(path, override)
    assert found.startswith(line)
    with pytest.raises(RecipeError):
        load(path, [override])


def test_faulty_overrides_come_all_at_once(folder):
    lines = told(folder / "ground.yaml", "seed=[1", "model.power=0", "nothing", "data.coating=bleu")
    assert [line.split(":")[0] for line in lines] == ["seed", "nothing", "model.power", "data.coating"]


def test_interpolations_are_filled_in_last(folder, monkeypatch):
    monkeypatch.setenv("LENS_LABEL", "from outside")
    path = write(
        folder,
        "x.yaml",
        "base: ground\nmodel.power: ${seed}\nmodel.label: ${oc.env:LENS_LABEL}\nlogging: ${model}",
    )
    recipe = load(path, ["seed=6"])
    assert recipe.model["power"] == recipe.logging["power"] == 6
    assert recipe.model["label"] == "from outside"


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (
            "'${sead}'",
            "model.power: cannot be filled in: Interpolation key 'sead' not found; did you mean `seed`?",
        ),
        ("'${seed'", "model.power: '${seed' is not written right: "),
        ("'${model.power}'", "model.power: cannot be filled in: "),
        ("'${nothing:3}'", "model.power: cannot be filled in: Unsupported interpolation type nothing"),
        ("???", "model.power: is left open (???): give it a value"),
    ],
)
def test_what_cannot_be_filled_in_is_one_fault_at_its_path(folder, value, line):
    lines = told(write(folder, "x.yaml", f"base: ground\nmodel.power: {value}\ndata.power: 0"))
    assert lines[0].startswith(line)
    assert [one.split(":")[0] for one in lines] == ["model.power", "data.power"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seed: 1\nmodel: [1\n", r"x.yaml, line 3: did not find expected ',' or ']'"),
        ("seed: 1\nname: a\nseed: 2\n", r"x.yaml, line 3: found duplicate key seed"),
        (
            "seed: !!python/object/apply:os.system [ls]",
            "line 1: could not determine a constructor for the tag",
        ),
        ("- 1\n- 2\n", "must be a mapping of sections, got a list"),
        ("seed: !!set {a}", "Value 'set' is not a supported primitive type"),
        ("a: \x00", "x.yaml: unacceptable character #x0000"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(folder, text, line):
    (found,) = told(write(folder, "x.yaml", text))
    assert line in found


def test_a_file_that_is_no_text_is_told(folder):
    (folder / "x.yaml").write_bytes(b"\xff\xfe\x00\x01")
    assert "x.yaml cannot be read: 'utf-8' codec can't decode" in told(folder / "x.yaml")[0]


def test_an_empty_recipe_is_a_recipe(folder):
    recipe = load(write(folder, "nothing.yaml", "\n"))
    assert show(recipe) == "name: nothing\nseed: 0\n"


def test_four_lines_bring_in_a_router_of_ones_own(folder):
    write(
        folder,
        "my_router.py",
        """
        from dataclasses import dataclass

        from gazekit.contracts import Selection, View


        @dataclass(frozen=True, kw_only=True)
        class MyRouter:
            k: int

            def __call__(self, scores, view: View) -> Selection | None:
                return None
        """,
    )
    path = write(
        folder,
        "mine.yaml",
        """\
        base: tiny
        imports: [my_router.py]
        gaze:
          route: {_target_: my_router.MyRouter, k: 2}
        """,
    )
    assert check(path) == []
    gaze = load(path).build("gaze")
    assert type(gaze.route).__name__ == "MyRouter"
    assert gaze.route.k == 2
    assert gaze.partition == load("tiny").build("gaze").partition
    assert told(path, "gaze.route.kk=3")[0].startswith(
        "gaze.route.kk: is unknown; my_router.MyRouter takes k"
    )


@pytest.mark.parametrize("name", names())
def test_every_recipe_that_comes_with_gazekit_is_sound(name):
    assert check(name) == []
    assert parse(show(load(name))) == load(name)


def test_merging_keeps_what_it_is_given():
    base, over = {"a": {"b": [1], "_target_": "x.Y"}}, {"a": {"b": [2], "c": 3}}
    assert merge(base, over) == {"a": {"b": [2], "_target_": "x.Y", "c": 3}}
    assert base == {"a": {"b": [1], "_target_": "x.Y"}}
    assert put(base, steps_of("a.b[0]"), 9)["a"]["b"] == [9]
    assert base["a"]["b"] == [1]
    with pytest.raises(
        ValueError, match=r"a\.b is a list, whose items are numbered none, for it is empty, got '0'"
    ):
        put({"a": {"b": []}}, steps_of("a.b.0"), 1)
