"""What a day's work rests on and hands on: the history before it, and all that its report says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from germane.registry.alerting import AlertRow
from germane.registry.days import DONE, ChangeRow, DayRow, LevelRow, LineRow


@dataclass(frozen=True)
class History:
    """What is known before a day. last: the day that it is compared with. open: alerts that are not resolved. levels: of the
    first metric over all.
    """

    days: Sequence[DayRow]
    last: DayRow | None
    changes: Mapping[str, Sequence[ChangeRow]]
    lines: Sequence[LineRow]
    open: Sequence[AlertRow]
    levels: Sequence[LevelRow]

    @property
    def dates(self) -> list[str]:
        """The days that are done, in order."""
        return [row.date for row in self.days if row.state == DONE]
