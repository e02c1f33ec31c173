"""Judges and models by name: a folder, a name under GERMANE_MODELS, or a model hub's name."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any

from germane import extras
from germane.extras import needs
from germane.judges import folder
from germane.store import sha256
from germane.types import InputError, Judge

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def models_folder() -> Path:
    """Where model folders lie: GERMANE_MODELS, or ~/.cache/germane/models."""
    return Path(os.environ.get("GERMANE_MODELS") or Path.home() / ".cache" / "germane" / "models")


def locate(name: str | Path) -> str:
    """What `from_pretrained` takes for this name: the path of a folder that is there, or a model hub's name.

    A bare name (all-MiniLM-L6-v2), and the last part of a hub's name, are looked for under GERMANE_MODELS first.

    Raises: InputError for what is neither a folder nor could be a hub's name.
    """
    path = Path(name).expanduser()
    if str(name).strip() and path.is_dir():
        return str(path)
    if not _HUB_NAME.fullmatch(str(name)):
        raise InputError(f"model {str(name)!r}: there is no such folder, and no model hub has such a name")
    here = models_folder() / str(name).rpartition("/")[2]
    return str(here) if here.is_dir() else str(name)


def contents(name: str | Path) -> str:
    """What tells a model from another that once had its name: 16 hex digits of a folder's files, or the hub's name."""
    where = Path(locate(name))
    if not where.is_dir():
        return str(name)
    kinds = ("*.safetensors", "pytorch_model*.bin", "*.json", "*.model")
    files = sorted(path for kind in kinds for path in where.glob(kind) if not path.name.endswith(".manifest.json"))
    return hashlib.sha256("".join(f"{path.name}:{sha256(path)};" for path in files).encode()).hexdigest()[:16]


def load(name: str | Path, *, device: str | None = None, **options: Any) -> Judge:
    """The trained judge in a folder, ready to be asked. device: as torch names it; by default the best that is there.

    Raises: InputError for a folder that holds no judge.
    """
    about = folder.read(name)
    if device is not None:
        needs("train", "torch", by="a device by name")
        extras.device(device)
    if about.kind == "cross-encoder":
        from germane.judges.encoder import CrossEncoder

        return CrossEncoder(name, device=device, **options)
    if about.kind == "generative":
        from germane.judges.generative import Generative

        return Generative(name, device=device, **options)
    if about.kind == "two-tower":
        from germane.judges.two_tower import TwoTower

        return TwoTower(name, device=device, **options)
    if about.kind == "committee":
        from germane.judges.committee import Committee

        return Committee(name, device=device, **options)
    raise InputError(f"{name} is a {about.kind!r}: this version of germane knows no such judge")
