"""The relevance signal at work in a search: what to filter, features, loss weights, a boost, and which of them for whom."""

from germane.signal.adaptive import Adaptive
from germane.signal.boost import Boost
from germane.signal.deciding import Decides, Decisions
from germane.signal.files import load, read, write
from germane.signal.filter import Filter

__all__ = ["Adaptive", "Boost", "Decides", "Decisions", "Filter", "load", "read", "write"]
