"""A recipe, or a checkpoint's config.json, runs no code but gazekit's and what the user lists."""

import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gazekit.contracts.section import SectionError, TargetError, admit, build, check, public_name, resolve

OUTSIDE = [
    "os.system",
    "subprocess.Popen",
    "builtins.eval",
    "torch.load",
    "torch.nn.Linear",
    "eval",
    "",
    ".",
    "gazekit",
    "gazekit.",
    "gazekitten.route.TopKRouter",
]
THROUGH_GAZEKIT = [
    "gazekit.recipe.load.os.system",
    "gazekit.recipe.layers.os.system",
    "gazekit.contracts.tokens.torch.load",
    "gazekit.contracts.section.resolve.import_module",
    "gazekit.contracts.section.resolve.importlib.import_module",
    "gazekit.contracts.section.imports.admit",
    "gazekit.contracts.section.admit",
    "gazekit.cli.main",
    "gazekit.contracts.tokens.Tensor",
    "gazekit.contracts.tokens.dataclass",
    "gazekit.contracts.section.reader.Path",
    "gazekit.contracts.Sizes.__init__",
    "gazekit.contracts.Sizes.__class__",
    "gazekit.__loader__",
    "gazekit.__builtins__.eval",
    "gazekit.contracts.section.call._is_cheap",
    "gazekit.contracts.Kind.TEXT",
    "gazekit.contracts..Sizes",
    "gazekit.contracts/section.Fault",
    "gazekit.contracts.Router",
]


@pytest.mark.parametrize("target", OUTSIDE + THROUGH_GAZEKIT)
def test_no_target_leaves_gazekit(target):
    with pytest.raises(TargetError):
        resolve(target)
    (fault,) = check({"_target_": target})
    assert fault.path == "_target_"
    with pytest.raises(SectionError):
        build({"a": [{"_target_": target}]})


@pytest.mark.parametrize(
    "target", ["toy_parts.os.system", "toy_parts.partial", "toy_parts.nn.Linear", "toy_parts.Viewer"]
)
def test_listing_a_module_does_not_list_what_it_imports(toys, target):
    with pytest.raises(TargetError):
        resolve(target, admit([toys]))


@pytest.mark.parametrize("target", ["toy_parts.Abstract", "toy_parts._hidden", "toy_parts.Lens.power"])
def test_what_is_no_part_is_refused(toys, target):
    with pytest.raises(TargetError):
        resolve(target, admit([toys]))


@given(st.text(max_size=30))
def test_any_text_is_refused_or_stays_inside(text):
    for target in (text, f"gazekit.{text}", f"gazekit.contracts.{text}"):
        try:
            found = resolve(target)
        except TargetError:
            continue
        assert found.__module__.startswith("gazekit.")


def test_a_refused_target_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "sly_module.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "is neither in gazekit nor in a module under `imports:`" in str(
        check({"_target_": "sly_module.Part"})[0]
    )
    assert "sly_module" not in sys.modules


def test_a_package_that_is_listed_opens_its_own_modules_only():
    with pytest.raises(TargetError, match="comes from typing, which is neither gazekit nor under `imports:`"):
        resolve("torch.utils.data.dataset.Generic", ["torch"])
    assert resolve("torch.nn.Linear", ["torch"]).__name__ == "Linear"
    with pytest.raises(TargetError, match=r"torch has no module os"):
        resolve("torch.os.system", ["torch"])


def test_the_nearest_part_is_named(toys):
    def meant(target, names=()):
        (fault,) = check({"_target_": target}, imports=names)
        return fault.nearest

    assert meant("gazekit.contracts.Sises") == "gazekit.contracts.Sizes"
    assert meant("gazekit.contract.Sizes") == "gazekit.contracts.Sizes"
    assert meant("gazekti.contracts.Sizes") == "gazekit.contracts.Sizes"
    assert meant("gazekit.pool.TopKRouter") == "gazekit.TopKRouter"
    assert meant("TopKRouter") == "gazekit.TopKRouter"
    assert meant("toy_part.Lens", [toys]) == "toy_parts.Lens"
    assert meant("toy_parts.Lenz", [toys]) == "toy_parts.Lens"
    assert meant("os.system") is None


def test_public_names_are_short_and_lead_back(toys):
    for target in ("gazekit.contracts.Sizes", "gazekit.route.TopKRouter", "gazekit.contracts.section.Fault"):
        assert public_name(resolve(target)) == target
    assert public_name(resolve("toy_parts.Lens", admit([toys]))) == "toy_parts.Lens"


@pytest.fixture
def folder(tmp_path):
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def write(folder, name, text="class Part:\n    pass\n"):
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(textwrap.dedent(text))
    return str(path)


def test_a_file_is_imported_once_under_its_own_name(folder):
    file = write(folder, "own_router.py")
    assert admit([file]) == admit([file]) == ("own_router",)
    assert resolve("own_router.Part", ["own_router"]) is sys.modules["own_router"].Part
    with pytest.raises(SectionError, match="would hide another module named own_router; rename the file"):
        admit([write(folder, "other/own_router.py")])


def test_a_file_that_python_finds_by_itself_is_the_same_module(folder, monkeypatch):
    file = write(folder, "found_router.py")
    monkeypatch.syspath_prepend(folder)
    assert admit([file, "found_router"]) == ("found_router", "found_router")
    import found_router

    assert resolve("found_router.Part", ["found_router"]) is found_router.Part


def test_a_file_may_not_take_the_name_of_a_library(folder):
    with pytest.raises(SectionError, match="would hide another module named colorsys; rename the file"):
        admit([write(folder, "colorsys.py")])


def test_all_imports_that_fail_are_told_at_once(folder):
    imports = [
        "no_such_module",
        str(folder / "nowhere.py"),
        write(folder, "broken_part.py", "def f(:\n"),
        write(folder, "failing_part.py", "raise RuntimeError('no licence')\n"),
        "not a module",
        write(folder, "two-words.py"),
    ]
    with pytest.raises(SectionError) as caught:
        admit(imports)
    told = [str(fault) for fault in caught.value.faults]
    assert [line.split(":")[0] for line in told] == [f"imports.{place}" for place in range(6)]
    assert "for a file of your own, write no_such_module.py" in told[0]
    assert "there is no file" in told[1]
    assert "SyntaxError" in told[2]
    assert "RuntimeError: no licence" in told[3]
    assert "is neither the name of a module nor a path that ends in .py" in told[4]
    assert "its name must be letters, digits and underscores" in told[5]
    assert "failing_part" not in sys.modules


def test_parts_of_an_import_that_failed_are_not_faulted_again(folder, toys):
    file = write(folder, "failing_too.py", "import no_such_module_at_all\n")
    tree = {"_target_": "toy_parts.Frame", "lens": {"_target_": "failing_too.Part"}, "flag": 3}
    assert [fault.path for fault in check(tree, imports=[toys, file])] == ["imports.1", "flag"]
    assert [fault.path for fault in check({"_target_": "failing_too.Part", "x": 1}, imports=[file])] == [
        "imports.0"
    ]
