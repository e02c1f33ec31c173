"""A module imports only from modules above it. The order is in pyproject.toml, [tool.germane] layers; read it first."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "germane"
RULES = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["germane"]
LAYERS: list[str] = RULES["layers"]


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """'stats.means' for stats/means.py, 'report' for report/__init__.py, '' for germane itself."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def layer(module: str) -> str | None:
    """The listed layer that a module belongs to: itself, or the nearest listed package above it."""
    while module and module not in LAYERS:
        module = module.rpartition(".")[0]
    return module or None


def imported(source: str, module: str, is_package: bool, known: set[str]) -> list[tuple[int, str]]:
    """(line, module of ours) for every import in a source: at the top, inside functions, under TYPE_CHECKING."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "germane"]
        elif isinstance(node, ast.ImportFrom):
            here = ["germane", *module.split(".")] if module else ["germane"]
            up = len(here) - node.level + (1 if is_package else 0)
            start = ".".join([*here[:up], *([node.module] if node.module else [])]) if node.level else node.module or ""
            if start.split(".")[0] != "germane":
                continue
            for alias in node.names:
                if (start, alias.name) == ("germane", "__version__"):
                    continue  # a constant that is there before anything else is loaded
                longer = f"{start}.{alias.name}"
                found.append((node.lineno, longer if longer.removeprefix("germane.") in known else start))
    return [(line, name.removeprefix("germane").removeprefix(".")) for line, name in found]


def faults(package: Path = PACKAGE) -> list[str]:
    """One line for each import that goes the wrong way, and for each module that has no place in the list."""
    paths = sorted(package.rglob("*.py"))
    known = {module_name(path, package) for path in paths}
    lines = []
    for path in paths:
        module = module_name(path, package)
        place = layer(module)
        # A bare package of listed modules (stats/__init__.py) holds nothing, so it needs no place; nor does germane itself.
        if module == "" or any(name.startswith(f"{module}.") for name in LAYERS):
            continue
        if place is None:
            lines.append(f"{module} has no layer: add it to [tool.germane] layers in pyproject.toml, below all that it imports")
            continue
        for line, target in imported(path.read_text(encoding="utf-8"), module, path.name == "__init__.py", known):
            if problem := wrong(module, place, target):
                lines.append(f"src/germane/{path.relative_to(package)}:{line}: {problem}")
    return lines


def wrong(module: str, place: str, target: str) -> str:
    """Why `module` must not import `target`, or ''."""
    stages = RULES["stages"]
    other = layer(target)
    if target == "":
        return f"{module} imports germane itself: import the module that defines the name instead"
    if any(name.startswith(f"{target}.") for name in LAYERS):
        return f"{module} imports the package {target}: import one of its modules"
    if other is None:
        return f"{module} imports {target}, which has no layer: add it to [tool.germane] layers in pyproject.toml"
    if place == other == stages and module not in RULES["pages"] and target not in (module, stages):
        return f"{module} imports {target}: stages never call each other, they name the earlier stage's file"
    if LAYERS.index(other) > LAYERS.index(place):
        return f"{module} imports {target}, which stands below it in [tool.germane] layers: pass the value in, or move the code"
    return ""


def test_every_import_goes_up_the_list():
    assert faults() == []


def test_layers_are_listed_once():
    assert len(LAYERS) == len(set(LAYERS))


@pytest.mark.parametrize(
    ("path", "source", "complaint"),
    [
        ("metrics.py", "def f():\n    from germane.store import rank\n", "metrics imports store, which stands below"),
        ("metrics.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from germane import store\n", "imports store"),
        ("sources/trec.py", "from ..report import html\n", "sources.trec imports report"),
        ("stats/means.py", "from . import power\n", "stats.means imports stats.power"),
        ("pipeline/compare.py", "import germane.pipeline.sample\n", "stages never call each other"),
        ("store.py", "from germane import compare\n", "imports germane itself"),
        ("utils.py", "", "utils has no layer"),
    ],
)
def test_a_wrong_import_is_named_with_its_line(tmp_path, path, source, complaint):
    for name in ("metrics.py", "store.py", "report/__init__.py", "stats/power.py", "pipeline/sample.py", path):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / path).write_text(source, encoding="utf-8")
    assert len(faults(tmp_path)) == 1
    assert complaint in faults(tmp_path)[0]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "store.py",
            "import numpy\nfrom germane import __version__\nfrom . import metrics\nfrom .metrics import sdcg\n",
        ),
        ("pipeline/demo.py", "from germane.pipeline import sample\n"),
        ("sources/trec.py", "from . import quepid\nfrom .quepid import read\n"),
    ],
)
def test_a_right_import_passes(tmp_path, path, source):
    for name in ("metrics.py", "store.py", "pipeline/sample.py", "sources/quepid.py", path):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / path).write_text(source, encoding="utf-8")
    assert faults(tmp_path) == []
