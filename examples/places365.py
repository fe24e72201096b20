"""Take the reference's training set out of an unpacked Places365: 20 classes of 5,000 pictures.

python examples/places365.py SRC OUT [--classes 20] [--per-class 5000] [--seed 0]

SRC is the folder that Places365 was unpacked in, or its training folder: `data_256/a/abbey/1.jpg`, also with
nested classes such as `a/apartment_building/outdoor`, or `train/abbey/…`. A nested class becomes one folder,
`apartment_building-outdoor`.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from infilling.errors import DataError, InfillingError, did_you_mean
from infilling.learning.picture_sources import find_sources
from infilling.storage import make_folder_whole, require_new_folder

# Folders that it unpacks to, small pictures first.
TRAINING = ("data_256", "data_256_standard", "train", "data_large", "data_large_standard")


def take_subset(
    source: str | Path,
    out: str | Path,
    *,
    classes: int | Sequence[str] = 20,
    per_class: int = 5000,
    seed: int = 0,
) -> dict[str, int]:
    """Link, or copy where links are impossible, some pictures of some classes to OUT/<class>/.

    Classes and pictures are drawn by a hash of seed and name: the same seed takes the same ones wherever the
    source is.

    Args:
        source: an unpacked Places365.
        out: a new or empty folder.
        classes: number of classes, drawn among those with enough pictures; or their names.
        per_class: number of pictures of each.
        seed: another seed draws others.

    Returns:
        The number of pictures in each class folder.

    Raises:
        DataError: too few classes or pictures, an unknown class, or a folder that is not empty.
        StorageError: OUT cannot be written; nothing is left of it then.
    """
    out = Path(out)
    require_new_folder(out)
    by_class = group_by_class(Path(source))
    chosen = choose_classes(by_class, classes, per_class, seed)
    with make_folder_whole(out, f"cannot write {out}") as unfinished:
        for name in chosen:
            (unfinished / name).mkdir(parents=True)
            for path in draw_pictures(by_class[name], per_class, seed):
                link_or_copy(path, unfinished / name / path.name)
    return dict.fromkeys(chosen, per_class)


def group_by_class(source: Path) -> dict[str, dict[str, Path]]:
    """Return the pictures of every class: class, then name inside the training folder, to path."""
    folder = next((source / name for name in TRAINING if (source / name).is_dir()), source)
    (found, *_) = find_sources(folder)
    if found.kind != "folder":
        raise DataError(f"{folder} is no unpacked Places365: it holds {found.path.name}, no class folders")
    by_class: dict[str, dict[str, Path]] = {}
    for name in found.names:
        if label := name_class(name):
            by_class.setdefault(label, {})[name] = folder / name
    if not by_class:
        raise DataError(f"{folder} is no unpacked Places365: its pictures are not in class folders")
    return by_class


def name_class(name: str) -> str:
    """Return `apartment_building-outdoor` of `a/apartment_building/outdoor/1.jpg`."""
    folders = name.split("/")[:-1]
    if len(folders) > 1 and len(folders[0]) == 1 and folders[1].startswith(folders[0]):
        folders = folders[1:]
    return "-".join(folders)


def choose_classes(
    by_class: dict[str, dict[str, Path]], classes: int | Sequence[str], per_class: int, seed: int
) -> list[str]:
    """Return the classes by number or by name, each with enough pictures."""
    enough = [name for name, pictures in by_class.items() if len(pictures) >= per_class]
    if isinstance(classes, int):
        if len(enough) < classes:
            having = f"{len(enough)} of {len(by_class)} have {per_class} pictures"
            raise DataError(f"{classes} classes were asked for, and only {having}")
        return sorted(sorted(enough, key=lambda name: hash_name(seed, name))[:classes])
    for name in classes:
        if name not in by_class:
            raise DataError(f"no class is called {name!r}{did_you_mean(name, by_class)}")
        if name not in enough:
            raise DataError(f"class {name} has only {len(by_class[name])} of {per_class} pictures")
    return list(dict.fromkeys(classes))


def draw_pictures(pictures: dict[str, Path], count: int, seed: int) -> list[Path]:
    """Return `count` pictures of one class."""
    return [pictures[name] for name in sorted(pictures, key=lambda name: hash_name(seed, name))[:count]]


def hash_name(seed: int, name: str) -> bytes:
    """Return bytes that depend on seed and name alone."""
    return sha256(f"{seed} {name}".encode(errors="surrogatepass")).digest()


def link_or_copy(path: Path, target: Path) -> None:
    """Link a picture, or copy it to another disk or a file system without links."""
    try:
        os.link(path.resolve(), target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(path, target)


def main() -> None:
    """Take the subset and print the number of pictures in each class."""
    parser = argparse.ArgumentParser(description="Take the reference's training set out of Places365.")
    parser.add_argument("source", type=Path, help="an unpacked Places365, or its training folder")
    parser.add_argument("out", type=Path, help="a new folder")
    parser.add_argument("--classes", type=int, default=20, help="number of classes")
    parser.add_argument("--per-class", type=int, default=5000, help="number of pictures of each class")
    parser.add_argument("--seed", type=int, default=0, help="another seed draws others")
    options = parser.parse_args()
    try:
        counts = take_subset(
            options.source,
            options.out,
            classes=options.classes,
            per_class=options.per_class,
            seed=options.seed,
        )
    except InfillingError as error:
        sys.exit(f"error: {error}")
    for name, count in counts.items():
        print(f"{name}\t{count}")


if __name__ == "__main__":
    main()
