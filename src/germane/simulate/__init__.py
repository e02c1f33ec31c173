"""A simulated marketplace, so that an estimate can be held against the truth. Everything here is made up, and says so."""

from germane.simulate.difficulty import Difficulty, difficulty
from germane.simulate.marketplace import BestTextJudge, Marketplace

__all__ = ["BestTextJudge", "Difficulty", "Marketplace", "difficulty"]
