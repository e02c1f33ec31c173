"""What every test may ask for: real data where it is installed, and the size of a simulation."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# A deadline is a timing assert, and machines are shared.
settings.register_profile("germane", deadline=None)
settings.load_profile("germane")

ROOT = Path(__file__).resolve().parents[1]


def data_folder() -> Path:
    """GERMANE_DATA, or the folder ../shared/data beside the checkout (a convenience of the tests alone)."""
    return Path(os.environ.get("GERMANE_DATA") or ROOT.parent / "shared" / "data")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--whole", action="store_true", help="run simulations at full size (make simulations)")


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """The folder of a real data set by name; skips where it is not installed."""

    def folder(name: str) -> Path:
        path = data_folder() / name
        if not path.is_dir():
            pytest.skip(f"data set {name!r} is not in {data_folder()}: set GERMANE_DATA (docs/data.md says how to get it)")
        return path

    return folder


@pytest.fixture(scope="session")
def repetitions(request: pytest.FixtureRequest) -> Callable[..., int]:
    """`repetitions(reduced=200, whole=2000)`: how often a simulation runs, reduced unless pytest is called with --whole."""
    whole_size = bool(request.config.getoption("--whole"))

    def pick(*, reduced: int, whole: int) -> int:
        return whole if whole_size else reduced

    return pick


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str | bytes], Path]:
    """`file("name.csv", content)`: the path of a file that holds it."""

    def make(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make
