"""Where recipes are found: by path, or by name in the recipes that come with gazekit."""

from __future__ import annotations

from pathlib import Path

import gazekit
from gazekit.contracts.section import nearest

SUFFIXES = (".yaml", ".yml")


def folders(package: Path | None = None) -> list[Path]:
    """The folders in which named recipes are looked up, first come first served.

    A checkout, and an editable install of one, has its recipes beside the package, where they are edited; an
    installed wheel carries a copy inside.

    Args:
        package: The folder of the package; gazekit's own unless given.
    """
    package = package or Path(gazekit.__file__).parent
    is_checkout = (package.parent / "pyproject.toml").is_file()
    beside = [package.parent / "recipes"] if is_checkout else []
    return [folder for folder in [*beside, package / "recipes"] if folder.is_dir()]


def names(package: Path | None = None) -> list[str]:
    """All names that `find` knows, such as `tiny` or `systems/moba`."""
    found = {
        path.relative_to(folder).with_suffix("").as_posix()
        for folder in folders(package)
        for path in folder.rglob("*")
        if path.suffix in SUFFIXES
    }
    return sorted(found)


def find(recipe: str | Path, package: Path | None = None) -> Path:
    """The file of a recipe.

    Args:
        recipe: A path, which ends in .yaml or .yml, or a name.
        package: As for `folders`.

    Raises:
        FileNotFoundError: There is none; the nearest name is given.
    """
    path = Path(recipe).expanduser()
    if path.suffix in SUFFIXES:
        if path.is_file():
            return path.resolve()
        near = path.parent.iterdir() if path.parent.is_dir() else iter(())
        close = nearest(path.name, [file.name for file in near if file.suffix in SUFFIXES])
        raise FileNotFoundError(f"there is no recipe file {path}{_meant(close and str(path.parent / close))}")
    name, known = path.as_posix(), names(package)
    if name not in known:
        own = [f"{name}{suffix}" for suffix in SUFFIXES if Path(f"{name}{suffix}").is_file()]
        listed = ", ".join(known) or "there are none"
        close = own[0] if own else nearest(name, known)
        raise FileNotFoundError(f"there is no recipe named {name} (known: {listed}){_meant(close)}")
    candidates = [folder / f"{name}{suffix}" for folder in folders(package) for suffix in SUFFIXES]
    return next(file for file in candidates if file.is_file()).resolve()


def _meant(close: str | None) -> str:
    return f"; did you mean `{close}`?" if close else ""
