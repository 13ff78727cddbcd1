"""The shape of the house: which way imports flow, who may open which door, what every room shows."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "gazekit"

LEVELS = {
    "__init__": -1,
    "__version__": -1,
    "contracts": 0,
    "kernels": 0,
    "partition": 1,
    "pool": 1,
    "route": 1,
    "schedule": 1,
    "context": 1,
    "prior": 1,
    "attend": 1,
    "store": 1,
    "loss": 1,
    "combine": 1,
    "gaze": 2,
    "reduce": 2,
    "evict": 2,
    "bench": 4,
    "models": 3,
    "data": 3,
    "evaluate": 4,
    "view": 3,
    "training": 4,
    "testing": 4,
    "recipe": 5,
    "demo": 6,
    "cli": 7,
    "__main__": 8,
}

STANDARD = set(sys.stdlib_module_names)
EVERYWHERE = {"torch", "jaxtyping", "einops", "numpy"}
DOORS = {
    "transformers": ("gaze/attention.py", "gaze/cache.py", "models/", "data/", "bench/decoder.py"),
    "lightning": ("training/", "data/module.py", "data/conversations.py"),
    "omegaconf": ("recipe/",),
    "torchmetrics": ("evaluate/",),
    "xformers": ("attend/xformers.py", "bench/dense.py"),
    "flashinfer": ("bench/dense.py",),
    "triton": ("kernels/",),
    "torchdata": ("data/",),
    "sklearn": ("data/",),
    "safetensors": ("models/", "training/"),
    "tokenizers": ("data/",),
    "torchcodec": ("data/video/torchcodec.py",),
    "av": ("data/video/", "bench/video.py"),
    "datasets": ("data/records/hub.py", "evaluate/benchmarks/loading.py"),
    "yaml": ("recipe/", "evaluate/literature.py"),
    "peft": ("models/retrofit/lora.py",),
    "lmms_eval": ("evaluate/lmms/",),
    "accelerate": ("evaluate/lmms/",),
    "bitsandbytes": ("models/quantize.py",),
    "packaging": ("models/",),
    "PIL": ("models/", "data/", "view/", "cli/", "bench/data.py", "bench/video.py"),
    "matplotlib": ("view/",),
    "hypothesis": ("testing/",),
    "rich": ("training/", "demo/", "cli/"),
}

SOURCES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
ROOMS = sorted({path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"cli", "demo"})


def room_of(source: str) -> str:
    """``route/topk.py`` belongs to ``route``, ``cli.py`` to ``cli``."""
    return source.split("/")[0].removesuffix(".py")


def imported(source: str, text: str) -> Iterator[str]:
    """The dotted names that a file imports, inside functions and type-checking blocks too."""
    package = ["gazekit", *source.split("/")[:-1]]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) + 1 - node.level] if node.level else []
            origin = ".".join([*above, *filter(None, [node.module])])
            inside = origin.split(".")[0] == "gazekit"
            yield from [f"{origin}.{alias.name}" for alias in node.names] if inside else [origin]


def faults_of(source: str, text: str) -> list[str]:
    """What a file imports against the rules, one line each."""
    room, faults = room_of(source), []
    for name in imported(source, text):
        top, *rest = name.split(".")
        if top == "gazekit":
            other = rest[0] if rest else "__init__"
            if other != room and LEVELS.get(other, 99) >= LEVELS[room]:
                faults.append(f"{source} (level {LEVELS[room]}) imports {name}, not below it")
        elif room == "contracts" and top not in STANDARD | {"torch", "jaxtyping"}:
            faults.append(f"{source} imports {top}: contracts know torch and jaxtyping only")
        elif top not in {*sys.stdlib_module_names, *EVERYWHERE} and not (source).startswith(
            DOORS.get(top, ())
        ):
            faults.append(f"{source} imports {top}, whose doors are {DOORS.get(top, 'none')}")
    return faults


def test_every_room_has_a_level():
    assert {room_of(source) for source in SOURCES} <= set(LEVELS)


@pytest.mark.parametrize("source", [source for source in SOURCES if source != "__init__.py"])
def test_imports_flow_down_and_third_parties_come_in_by_their_doors(source: str):
    assert faults_of(source, (PACKAGE / source).read_text()) == []


@pytest.mark.parametrize(
    ("source", "text", "fault"),
    [
        ("route/topk.py", "from gazekit.pool import MeanPooler", "not below it"),
        ("route/topk.py", "from ..gaze import Gaze", "not below it"),
        ("route/topk.py", "def f():\n    from gazekit import Gaze", "not below it"),
        ("models/cambrian.py", "import gazekit.data.digits", "not below it"),
        ("contracts/tokens.py", "import einops", "torch and jaxtyping only"),
        ("gaze/loop.py", "from transformers.cache_utils import Cache", "whose doors are"),
        ("evaluate/harness.py", "import requests", "whose doors are none"),
    ],
)
def test_a_forbidden_import_is_found(source: str, text: str, fault: str):
    assert [fault in line for line in faults_of(source, text)] == [True]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("route/topk.py", "from .random import RandomRouter\nfrom gazekit.contracts import Selection"),
        ("gaze/cache.py", "import transformers\nfrom ..store import ResidentStore"),
        ("cli.py", "from gazekit.recipe import load\nimport argparse"),
    ],
)
def test_an_import_by_the_rules_is_let_through(source: str, text: str):
    assert faults_of(source, text) == []


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh interpreter holds after a statement, less those it starts with."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    )
    return set(done.stdout.split())


def test_importing_gazekit_loads_itself_alone():
    loaded = modules_after("import gazekit")
    assert {name for name in loaded if name.split(".")[0] not in STANDARD} == {"gazekit"}


def test_the_parts_load_without_the_libraries_behind_the_doors():
    rooms = [room for room in ROOMS if LEVELS[room] <= 1]
    loaded = modules_after("import " + ", ".join(f"gazekit.{room}" for room in rooms))
    assert loaded.isdisjoint(
        {"transformers", "lightning", "omegaconf", "torchmetrics", "matplotlib", "hypothesis", "triton"}
    )


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_shows_documented_names(room: str):
    module = importlib.import_module(f"gazekit.{room}")
    assert module.__doc__, f"gazekit.{room} does not say what it is for"
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            generated = inspect.isclass(value) and (value.__doc__ or "").startswith(f"{name}(")
            assert value.__doc__, f"gazekit.{room}.{name} has no docstring"
            assert not generated, f"gazekit.{room}.{name} has only the docstring that dataclass wrote"


@pytest.mark.parametrize("source", [source for source in SOURCES if LEVELS.get(room_of(source)) == 1])
def test_every_file_of_a_room_of_parts_is_reached_from_its_front_door(source: str):
    name = f"gazekit.{source.removesuffix('.py').replace('/', '.')}".removesuffix(".__init__")
    room = room_of(source)
    others = [other for other in SOURCES if room_of(other) == room and other != source]
    names = {used for other in others for used in imported(other, (PACKAGE / other).read_text())}
    reached = any(f"{used}.".startswith(f"{name}.") for used in names)
    assert reached or name == f"gazekit.{room}", f"nothing in {room}/ imports {source}"


def test_top_level_names_are_those_of_their_rooms():
    import gazekit

    for name, home in gazekit._HOMES.items():
        if (PACKAGE / home.split(".")[1]).is_dir():
            assert getattr(gazekit, name) is getattr(importlib.import_module(home), name)
