"""What a user may import from germane: these names, each with a docstring, and no other."""

import ast
import inspect
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

import germane

ROOT = Path(__file__).resolve().parents[1]

# A new public name is a promise: add it here, and say in the commit what it replaces.
PUBLIC = {
    "verbs": {"check", "compare", "evaluate"},
    "readers and writers": {
        "read_design",
        "read_docs",
        "read_judgments",
        "read_queries",
        "read_run",
        "write_judgments",
        "write_run",
    },
    "nouns": {
        "Design",
        "Doc",
        "Estimate",
        "Judge",
        "JudgeCard",
        "Judgment",
        "Outcome",
        "Pair",
        "Query",
        "Report",
        "Run",
        "Scale",
        "ScoredDoc",
    },
    "errors": {"InputError", "Refusal"},
    "modules": {"metrics", "report", "scales", "simulate"},
}
NAMES = sorted(set().union(*PUBLIC.values()))


def test_the_public_names_are_these():
    assert sorted(set(germane.__all__) - {"__version__"}) == NAMES
    assert set(NAMES) <= set(dir(germane))


@pytest.mark.parametrize("name", NAMES)
def test_each_public_name_loads_and_says_what_it_is(name):
    assert inspect.getdoc(getattr(germane, name))


@pytest.mark.parametrize("name", sorted(PUBLIC["verbs"] | PUBLIC["readers and writers"]))
def test_arguments_and_results_of_public_functions_have_types(name):
    signature = inspect.signature(getattr(germane, name))
    assert signature.return_annotation is not inspect.Signature.empty
    assert [p.name for p in signature.parameters.values() if p.annotation is inspect.Parameter.empty] == []


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'comparison'"):
        _ = germane.comparison  # type: ignore[attr-defined]


def test_type_checkers_see_the_names_that_run_time_finds():
    tree = ast.parse(Path(germane.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == germane._HOMES | dict.fromkeys(germane._MODULES, "germane")


def test_the_installed_version_is_the_package_s():
    assert metadata.version("germane") == germane.__version__
    assert "version" in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dynamic"]
