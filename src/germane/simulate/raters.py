"""Simulated people: each sees the truth, and errs by a grade now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from germane.judges import Confused, ask
from germane.simulate.marketplace import SCALE, Marketplace

if TYPE_CHECKING:
    import pyarrow as pa

# Row: true grade, worst first. Column: the grade that a rater gives. Nine in ten agree with the truth.
RATER = (
    (0.92, 0.07, 0.01, 0.00, 0.00),
    (0.05, 0.88, 0.06, 0.01, 0.00),
    (0.00, 0.06, 0.87, 0.07, 0.00),
    (0.00, 0.01, 0.06, 0.88, 0.05),
    (0.00, 0.00, 0.01, 0.06, 0.93),
)


def votes(market: Marketplace, pairs: pa.Table, *, raters: Sequence[str], seed: int) -> pa.Table:
    """Every rater's grade of every pair, as a judgments table of people."""
    import pyarrow as pa

    said = []
    for number, rater in enumerate(raters):
        judge = Confused(market.truth, RATER, scale=SCALE, seed=1000 * seed + number, name=rater)
        table = ask(judge, pairs)
        names = {"judge": f"human:{rater} (simulated)", "fingerprint": "", "note": "simulated"}
        for column, value in names.items():
            place = table.column_names.index(column)
            table = table.set_column(place, column, pa.repeat(pa.scalar(value, pa.string()), table.num_rows))
        said.append(table)
    return pa.concat_tables(said)
