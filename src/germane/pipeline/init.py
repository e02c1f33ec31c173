"""`germane init`: a project folder with its settings file."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from germane import scales
from germane.settings import FILE, Folders
from germane.types import InputError

TEMPLATE = """\
# Defaults for germane's options in this folder and below; an option on the command line wins. Every line may be left out.
scale = "{scale}"      # a built-in scale, or the path of your own TOML file, relative to this one
metric = "sDCG@25"    # of `germane compare`
k = 25                # depth of `germane collect` and `germane pairs`
level = 0.95          # of every interval
seed = 1              # of every draw

[folders]             # relative to this file
{folders}
[ray]                 # of `germane label --engine ray`
address = ""          # of a cluster: "auto", "ray://host:10001"; empty starts one on this machine
actors = 0            # that hold a judge each; 0: as many as there is room for
cpus = 1.0            # of each actor; a part of one will do for a judge on a GPU
gpus = 0.0            # of each actor; 0.5: two share one
"""


class Project(NamedTuple):
    """What `init` did: the folder, the paths that are new, and those that were there and were left as they are."""

    folder: str
    created: tuple[str, ...]
    kept: tuple[str, ...]


def init(folder: Path, *, scale: str = "five-level") -> Project:
    """A project folder with germane.toml and one folder for each kind of file. Nothing that exists is touched.

    Raises: InputError for an unknown scale, and where the folder cannot be written.
    """
    scales.get(scale)
    names = vars(Folders())
    settings = TEMPLATE.format(scale=scale, folders="".join(f'{kind} = "{name}"\n' for kind, name in names.items()))
    created: list[str] = []
    kept: list[str] = []
    try:
        for name in names.values():
            (kept if (folder / name).is_dir() else created).append(name)
            (folder / name).mkdir(parents=True, exist_ok=True)
        if (folder / FILE).exists():
            kept.append(FILE)
        else:
            with open(folder / FILE, "x", encoding="utf-8") as file:
                file.write(settings)
            created.append(FILE)
    except OSError as problem:
        raise InputError(f"cannot make a project in {folder}: {problem}") from problem
    return Project(str(folder), tuple(created), tuple(kept))
