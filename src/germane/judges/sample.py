"""A stand-in for a language model that says what a recording holds: the path of an annotator, without a key."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from germane.judges.prompts.grading import fenced
from germane.judges.replies import Reply
from germane.types import InputError

RECORDING = "recording.jsonl"
_FENCED = re.compile(r"<query-(\w+)>\n(.*?)\n</query-\1>.*?<item-\1>\n(.*?)\n</item-\1>", re.DOTALL)


class Recording:
    """Replies by query and item, in the order of the samples. folder: holds recording.jsonl.

    Raises: InputError for a folder without one, and for a line that is no recording.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / RECORDING
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            raise InputError(
                f"{path}: {problem}: `germane label --sample DIR` writes a recording, and --replies DIR names it"
            ) from problem
        self._said: dict[tuple[str, str], list[str]] = {}
        for number, line in enumerate(lines, 1):
            try:
                said = json.loads(line)
                self._said[fenced(said["query"]), fenced(said["item"])] = [str(reply) for reply in said["replies"]]
            except (ValueError, KeyError, TypeError, AttributeError) as problem:
                raise InputError(f"{path}, line {number}: no recorded pair ({type(problem).__name__})") from problem

    def reply(self, messages: Sequence[Mapping[str, Any]], sample: int) -> Reply | None:
        """What was recorded for the pair in these messages; None for one that is not in it."""
        found = _FENCED.search(str(messages[1]["content"]))
        said = self._said.get((found[2], found[3])) if found else None
        return Reply(said[sample]) if said is not None and sample < len(said) else None
