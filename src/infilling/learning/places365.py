"""Takes the reference's training set out of an unpacked Places365: 20 classes of 5,000 pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from infilling.errors import DataError, did_you_mean
from infilling.learning import sources
from infilling.learning.folders import make_whole, require_new

# Folders that it unpacks to, small pictures first.
TRAINING = ("data_256", "data_256_standard", "train", "data_large", "data_large_standard")


def places365_subset(
    source: str | Path,
    out: str | Path,
    *,
    classes: int | Sequence[str] = 20,
    per_class: int = 5000,
    seed: int = 0,
) -> dict[str, int]:
    """Links, or copies where links are impossible, some pictures of some classes to OUT/<class>/.

    The source is the folder that Places365 was unpacked in, or its training folder: `data_256/a/abbey/1.jpg`,
    also with nested classes such as `a/apartment_building/outdoor`, or `train/abbey/…`. A nested class
    becomes one folder, `apartment_building-outdoor`. Classes and pictures are drawn by a hash of seed and
    name: the same seed takes the same ones wherever the source lies.

    Args:
        source: an unpacked Places365.
        out: a new or empty folder.
        classes: how many classes, drawn among those with enough pictures; or their names.
        per_class: pictures of each.
        seed: another seed draws others.

    Returns:
        How many pictures each class folder got.

    Raises:
        DataError: too few classes or pictures, an unknown class, or a folder that is not empty.
        StorageError: OUT cannot be written; nothing is left of it then.
    """
    out = Path(out)
    require_new(out)
    by_class = _group(Path(source))
    chosen = _choose_classes(by_class, classes, per_class, seed)
    with make_whole(out) as unfinished:
        for name in chosen:
            (unfinished / name).mkdir(parents=True)
            for path in _draw(by_class[name], per_class, seed):
                _link(path, unfinished / name / path.name)
    return dict.fromkeys(chosen, per_class)


def _group(source: Path) -> dict[str, dict[str, Path]]:
    """The pictures of every class: class, then name inside the training folder, to path."""
    folder = next((source / name for name in TRAINING if (source / name).is_dir()), source)
    (found, *_) = sources.find(folder)
    if found.kind != "folder":
        raise DataError(f"{folder} is no unpacked Places365: it holds {found.path.name}, no class folders")
    by_class: dict[str, dict[str, Path]] = {}
    for name in found.names:
        if label := _name_class(name):
            by_class.setdefault(label, {})[name] = folder / name
    if not by_class:
        raise DataError(f"{folder} is no unpacked Places365: its pictures are not in class folders")
    return by_class


def _name_class(name: str) -> str:
    """`apartment_building-outdoor`, of `a/apartment_building/outdoor/1.jpg` or without the letter."""
    folders = name.split("/")[:-1]
    if len(folders) > 1 and len(folders[0]) == 1 and folders[1].startswith(folders[0]):
        folders = folders[1:]
    return "-".join(folders)


def _choose_classes(
    by_class: dict[str, dict[str, Path]], classes: int | Sequence[str], per_class: int, seed: int
) -> list[str]:
    enough = [name for name, pictures in by_class.items() if len(pictures) >= per_class]
    if isinstance(classes, int):
        if len(enough) < classes:
            raise DataError(
                f"{classes} classes were asked for, and only {len(enough)} of {len(by_class)} "
                f"have {per_class} pictures"
            )
        return sorted(sorted(enough, key=lambda name: _hash(seed, name))[:classes])
    for name in classes:
        if name not in by_class:
            raise DataError(f"no class is called {name!r}{did_you_mean(name, by_class)}")
        if name not in enough:
            raise DataError(f"class {name} has only {len(by_class[name])} of {per_class} pictures")
    return list(dict.fromkeys(classes))


def _draw(pictures: dict[str, Path], count: int, seed: int) -> list[Path]:
    return [pictures[name] for name in sorted(pictures, key=lambda name: _hash(seed, name))[:count]]


def _hash(seed: int, name: str) -> bytes:
    return sha256(f"{seed} {name}".encode(errors="surrogatepass")).digest()


def _link(path: Path, target: Path) -> None:
    try:
        os.link(path.resolve(), target)
    except FileExistsError:
        raise
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(path, target)
