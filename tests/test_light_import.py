"""`import germane` and `germane --help` load almost nothing: a list of what must not be there, not a stopwatch."""

import subprocess
import sys

import pytest

# What costs a user tenths of a second or more, and loads at first use only.
HEAVY = {
    "bm25s",
    "duckdb",
    "fastapi",
    "httpx",
    "ibis",
    "jinja2",
    "langgraph",
    "onnxruntime",
    "openai",
    "pandas",
    "pyarrow",
    "pydantic",
    "ray",
    "rich",
    "scipy",
    "sentence_transformers",
    "sqlalchemy",
    "torch",
    "transformers",
}


def loaded_after(code: str) -> set[str]:
    """Names in sys.modules of a fresh interpreter once `code` has run."""
    program = f"import sys\n{code}\nprint('modules:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("modules:")[2].split())


def test_import_germane_loads_no_module_of_its_own_and_nothing_third_party():
    extra = loaded_after("import germane") - loaded_after("")
    assert {name for name in extra if name.startswith("germane")} == {"germane"}
    assert not extra & (HEAVY | {"numpy", "typer", "click"})


@pytest.mark.parametrize("module", ["types", "scales", "metrics", "stats.means"])
def test_the_statistics_load_numpy_and_nothing_heavier(module):
    assert not loaded_after(f"import germane.{module}") & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["compare", "--help"], ["evaluate", "--help"]])
def test_help_loads_no_pipeline_and_nothing_heavy(arguments):
    call = f"sys.argv = ['germane', *{arguments!r}]"
    call += "\nfrom germane.cli import main\ntry:\n    main()\nexcept SystemExit:\n    pass"
    names = loaded_after(call)
    assert not names & ((HEAVY | {"numpy"}) - {"pydantic"})  # typer itself parses arguments with pydantic
    assert not {name for name in names if name.startswith("germane.pipeline.")}


def test_no_module_of_ours_loads_torch_at_import():
    assert "torch" not in loaded_after("import germane.cli, germane.types, germane.scales")
