"""The prompt of a judge that is a language model: the guide, then the query and the item inside fences.

`grading` is the text, the same for a model in process, a server and an annotator; `frames` is that text in one model's tokens.
"""

from __future__ import annotations

from germane.judges.prompts.frames import Frame, frame
from germane.judges.prompts.grading import Prompt, candidates, fenced

__all__ = ["Frame", "Prompt", "candidates", "fenced", "frame"]
