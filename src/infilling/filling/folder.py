"""Folders: which pictures are in one, which mask belongs to each, and where each result goes."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from infilling.errors import InputError
from infilling.filling.locations import Location, list_folder
from infilling.pictures.picture import EXTENSIONS, FORMATS, WRITABLE, find_format

NUMBERED = re.compile(r"(?P<stem>.+)_mask\d*", re.IGNORECASE)
"""The stem of a mask that is one of several for a picture: `name_mask001`."""


@dataclass(frozen=True)
class Job:
    """One result to make. The names of picture and output count from their folders, with `/` between.

    Attributes:
        mask: the file with its hole; None when boxes or the picture itself say where that is.
        problem: why nothing can be made of it; then the other fields may be empty.
    """

    picture: str
    output: str = ""
    mask: Location | None = None
    problem: str | None = None


def find_jobs(
    source: Location, out: Location, masks: Location | None = None, *, format: str | None = None
) -> Iterator[Job]:
    """Find what there is to fill in a folder and those below it, in a fixed order.

    Hidden files, files that are no pictures by their ending, and the folders `out` and `masks` are left out;
    links to folders are not followed. A result has the name of its picture. Where another format is written,
    the ending changes; if two results would then have one name, the whole name of the picture goes into it:
    `a.jpg` and `a.bmp` as PNG become `a.jpg.png` and `a.bmp.png`.

    Args:
        source: the folder with pictures.
        out: the folder for results.
        masks: one file for all pictures, or a folder with the same tree, where the mask of `sub/a.jpg` is
            `sub/a.jpg.png`, else `sub/a.png` (of any picture format), else `sub/a_mask001.png` and so on. Of
            several numbered masks, each makes a result with its number: `sub/a_mask001.jpg`. This folder may
            be `source` itself: there only numbered masks are masks. None: there are no mask files.
        format: what is written; None: what was read, and PNG for a GIF.

    Raises:
        InputError: `source` is no folder, `out` is the same, or `masks` is not there.
    """
    try:
        if not source.is_dir():
            raise InputError(f"{source}: no such folder; for one picture take `infill fill`")
        if out.resolve() == source.resolve():
            raise InputError(f"{out}: results would replace the pictures; name another folder")
        if masks is not None and not masks.exists():
            raise InputError(f"{masks}: no such mask file or folder")
    except OSError as error:  # a store that does not answer, or a folder above it that is locked
        raise InputError(f"{source}: cannot be read ({error.strerror or error})") from error
    return _find(source, out, masks, format)


def _find(source: Location, out: Location, masks: Location | None, format: str | None) -> Iterator[Job]:
    together = masks is not None and masks.resolve() == source.resolve()
    skipped = {out.resolve()} | ({masks.resolve()} if masks and not together else set())
    one_for_all = masks is not None and masks.is_file()

    def walk(here: PurePosixPath) -> Iterator[Job]:
        try:
            folders, files = list_folder(source / here)
            names = [name for name in files if _is_picture(name)]
            found: Sequence[tuple[str, Location | None]]
            if masks is None or one_for_all:
                found = [(name, masks) for name in names if source / here / name != masks]
            else:
                pictures = [
                    name for name in names if not (together and NUMBERED.fullmatch(PurePosixPath(name).stem))
                ]
                found = list(_pair(pictures, masks / here, numbered_only=together))
        except OSError as error:
            reason = error.strerror or error
            yield Job(str(here), problem=f"the folder cannot be read ({reason})")
            return
        yield from _name(here, found, format, needs_mask=masks is not None)
        for name in folders:
            if name[0] != "." and (source / here / name).resolve() not in skipped:
                yield from walk(here / name)

    yield from walk(PurePosixPath())


def _pair(
    pictures: Sequence[str], folder: Location, *, numbered_only: bool
) -> Iterator[tuple[str, Location | None]]:
    """Yield each picture with each of its masks in a folder, or once with None."""
    by_stem: dict[str, Location] = {}
    numbered: dict[str, list[Location]] = {}
    names = list_folder(folder)[1] if folder.is_dir() else []
    for name in filter(_is_picture, names):
        stem = PurePosixPath(name).stem
        by_stem.setdefault(stem, folder / name)
        if match := NUMBERED.fullmatch(stem):
            numbered.setdefault(match["stem"], []).append(folder / name)
    for name in pictures:
        stem = PurePosixPath(name).stem
        one = None if numbered_only else by_stem.get(name) or by_stem.get(stem)
        for mask in [one] if one else numbered.get(stem, [None]):
            yield name, mask


def _name(
    here: PurePosixPath, found: Sequence[tuple[str, Location | None]], format: str | None, *, needs_mask: bool
) -> Iterator[Job]:
    """Give every result of a folder a name of its own."""
    several = Counter(name for name, _ in found)
    wanted = [_name_result(name, mask if several[name] > 1 else None, format) for name, mask in found]
    count = Counter(wanted)
    taken = {name for name, number in count.items() if number == 1} | {
        name for (name, _), want in zip(found, wanted, strict=True) if want == name
    }
    for (name, mask), want in zip(found, wanted, strict=True):
        result = want
        if count[want] > 1 and want != name:
            ending = PurePosixPath(want).suffix
            result, number = name + ending, 1
            while result in taken:
                number += 1
                result = f"{name}-{number}{ending}"
            taken.add(result)
        problem = "there is no mask for it" if needs_mask and mask is None else None
        yield Job(str(here / name), str(here / result), mask, problem)


def _name_result(name: str, mask: Location | None, format: str | None) -> str:
    path = PurePosixPath(name)
    stem = path.stem
    if mask is not None:
        match = NUMBERED.fullmatch(mask.stem)
        stem = f"{stem}{mask.stem[len(match['stem']) :]}" if match else stem
    read = EXTENSIONS[path.suffix.lower()]
    written = read if read in WRITABLE else "PNG"
    target = find_format(format) if format else written
    return stem + (path.suffix if target == read else FORMATS[target].extensions[0])


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and PurePosixPath(name).suffix.lower() in EXTENSIONS
