"""germane: measure search relevance with judges you have checked, and put that measure to work.

>>> import germane
>>> germane.scales.get("esci").labels
('I', 'C', 'S', 'E')
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

# Every public name and where it lives. A name is loaded when it is first asked for (PEP 562), so `import germane` is free.
_HOMES = {
    "check": "germane.pipeline.check",
    "compare": "germane.pipeline.compare",
    "evaluate": "germane.pipeline.evaluate",
    "read_design": "germane.sources",
    "read_docs": "germane.sources",
    "read_judgments": "germane.sources",
    "read_queries": "germane.sources",
    "read_run": "germane.sources",
    "write_judgments": "germane.sources",
    "write_run": "germane.sources",
    "Design": "germane.types",
    "Doc": "germane.types",
    "Estimate": "germane.types",
    "InputError": "germane.types",
    "Judge": "germane.types",
    "JudgeCard": "germane.types",
    "Judgment": "germane.types",
    "Outcome": "germane.types",
    "Pair": "germane.types",
    "Query": "germane.types",
    "Refusal": "germane.types",
    "Report": "germane.types",
    "Run": "germane.types",
    "Scale": "germane.types",
    "ScoredDoc": "germane.types",
}
_MODULES = ("metrics", "report", "scales", "simulate")

if TYPE_CHECKING:  # the same names once more, for type checkers and editors; tests/test_public_api.py compares the two
    from germane import metrics as metrics
    from germane import report as report
    from germane import scales as scales
    from germane import simulate as simulate
    from germane.pipeline.check import check as check
    from germane.pipeline.compare import compare as compare
    from germane.pipeline.evaluate import evaluate as evaluate
    from germane.sources import read_design as read_design
    from germane.sources import read_docs as read_docs
    from germane.sources import read_judgments as read_judgments
    from germane.sources import read_queries as read_queries
    from germane.sources import read_run as read_run
    from germane.sources import write_judgments as write_judgments
    from germane.sources import write_run as write_run
    from germane.types import Design as Design
    from germane.types import Doc as Doc
    from germane.types import Estimate as Estimate
    from germane.types import InputError as InputError
    from germane.types import Judge as Judge
    from germane.types import JudgeCard as JudgeCard
    from germane.types import Judgment as Judgment
    from germane.types import Outcome as Outcome
    from germane.types import Pair as Pair
    from germane.types import Query as Query
    from germane.types import Refusal as Refusal
    from germane.types import Report as Report
    from germane.types import Run as Run
    from germane.types import Scale as Scale
    from germane.types import ScoredDoc as ScoredDoc

__all__ = ["__version__", *_HOMES, *_MODULES]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _HOMES:
        value: object = getattr(import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = import_module(f"germane.{name}")
    else:
        raise AttributeError(f"module 'germane' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
