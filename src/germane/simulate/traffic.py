"""Who searches when, and what is clicked."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from germane.chance import uniform
from germane.simulate.catalogue import Catalogue
from germane.simulate.demand import Demand
from germane.simulate.vocabulary import LANGUAGES, Vocabulary

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

DAYS = 28
START = np.datetime64("2026-03-02T00:00:00", "s")  # a Monday
WEEK = (1.0, 0.95, 0.95, 1.0, 1.05, 1.2, 1.3)
OF_INTEREST = 0.6  # share of a query's users who are at home in its department
AGAIN = 0.25  # chance of asking the same once more, and again
WRITTEN_OTHERWISE = 0.05  # share of searches typed in capitals or with a space too many

# Log odds of a click on a result that is looked at; a position p is looked at with probability p^-LOOK.
LOOK = 0.6
CLICK, PER_GRADE, PER_POPULARITY, PER_PRICE = -2.2, 0.9, 0.35, -0.5


class People(NamedTuple):
    """Users by number: their language, the department they are at home in, and how much a price puts them off."""

    language: Ints
    department: Ints
    thrift: Floats


class Searches(NamedTuple):
    """One row a search: which query, by whom, when (seconds from the start)."""

    query: Ints
    user: Ints
    second: Ints


def people(words: Vocabulary, demand: Demand, *, seed: int) -> People:
    """Four users a query, and always enough for the most popular one."""
    rng = np.random.default_rng([seed, 5])
    most = int(demand.users.max())
    count = max(4 * len(demand), 4 * most)
    language = (rng.random(count) < 0.42).astype(np.int64)
    return People(language, rng.integers(len(words.departments), size=count), np.exp(rng.normal(0, 0.5, count)))


def searches(words: Vocabulary, demand: Demand, crowd: People, *, seed: int, days: int = DAYS) -> Searches:
    """The log by number, in the order of time: each query asked by as many distinct users as it has."""
    rng = np.random.default_rng([seed, 6])
    groups = {
        (language, d): np.flatnonzero((crowd.language == language) & (crowd.department == d))
        for language in range(len(LANGUAGES))
        for d in range(len(words.departments))
    }
    others = {
        (language, d): np.flatnonzero((crowd.language == language) & (crowd.department != d))
        for language in range(len(LANGUAGES))
        for d in range(len(words.departments))
    }
    askers = []
    for language, department, users in zip(
        demand.language.tolist(), demand.department.tolist(), demand.users.tolist(), strict=True
    ):
        home, away = groups[language, department], others[language, department]
        near = min(int(rng.binomial(users, OF_INTEREST)), len(home))
        near = max(near, users - len(away))
        askers.append(home[rng.choice(len(home), near, replace=False, shuffle=False)])
        askers.append(away[rng.choice(len(away), users - near, replace=False, shuffle=False)])
    user = np.concatenate(askers)
    query = np.repeat(np.arange(len(demand)), demand.users)
    times = rng.geometric(1 - AGAIN, len(user))
    query, user = np.repeat(query, times), np.repeat(user, times)
    weight = np.array([WEEK[day % 7] for day in range(days)])
    day = rng.choice(days, len(query), p=weight / weight.sum())
    second = day * 86_400 + (rng.beta(3, 2, len(query)) * 86_399).astype(np.int64)
    order = np.lexsort((user, query, second))
    return Searches(query[order], user[order], second[order])


def log_table(words: Vocabulary, demand: Demand, found: Searches, *, seed: int) -> pa.Table:
    """A query log as an engine writes it: one row a search, the query as typed."""
    import pyarrow as pa

    rng = np.random.default_rng([seed, 7])
    n = len(found.query)
    names = np.array(demand.texts, dtype=object)
    typed = names[found.query]
    for row in np.flatnonzero(rng.random(n) < WRITTEN_OTHERWISE):
        text = typed[row]
        shouted = text if "ß" in text else text.upper()
        typed[row] = (text[0].upper() + text[1:], shouted, text.replace(" ", "  ", 1), f"{text} ")[rng.integers(4)]
    return pa.table(
        {
            "search_id": [f"s{i:07d}" for i in range(n)],
            "timestamp": pa.array(START + found.second.astype("timedelta64[s]")),
            "user_id": [f"u{i:06d}" for i in found.user],
            "query": pa.array(typed, pa.string()),
            "language": pa.array(LANGUAGES).take(demand.language[found.query]),
            "interest": pa.array(words.departments).take(demand.department[found.query]),
        }
    )


def click_odds(catalogue: Catalogue, crowd: People, user: Ints, item: Ints, grade: Ints, rank: Ints) -> Floats:
    """The probability that a user clicks an item at a rank (1 = top), by position, relevance, popularity and price."""
    price, kind = np.log(catalogue.price), catalogue.kind
    usual = np.bincount(kind, price) / np.maximum(np.bincount(kind), 1)
    dear = (price - usual[kind])[item]
    taste = CLICK + PER_GRADE * (grade - 2.0) + PER_POPULARITY * np.log(catalogue.popularity[item])
    odds: Floats = rank**-LOOK / (1 + np.exp(-taste - PER_PRICE * crowd.thrift[user] * dear))
    return odds


def clicked(seed: int, search: Ints, item: Ints, odds: Floats) -> NDArray[np.bool_]:
    """Whether each result of each search is clicked: the same search and item, the same answer in any ranking."""
    return uniform(seed, 8, search.astype(np.uint64), item.astype(np.uint64)) < odds
