"""Folders: which pictures are in one, which mask belongs to each, and where each result goes."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, count
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeAlias
from unicodedata import normalize

from infilling.errors import InputError, describe_error, is_no_list, show_value
from infilling.locations import Location, list_folder
from infilling.pictures.picture import EXTENSIONS, FORMATS, WRITABLE, find_format
from infilling.pictures.sniffing import sniff

NUMBERED = re.compile(r"(?P<stem>.+)(?P<number>_mask\d*)", re.IGNORECASE)
"""The stem of a mask that is one of several for a picture: `name_mask001`."""

_UNREAD = """
.3fr .ai .apng .arw .avifs .cr2 .cr3 .dcm .dds .dng .emf .eps .erf .exr .fits .hdp .hdr .heics .ico .iff .j2c
.j2k .jls .jp2 .jpc .jpf .jpm .jpx .jxl .jxr .kdc .kra .mos .mrw .nef .orf .pbm .pcx .pdf .pef .pfm .pgm .pic
.pnm .ppm .psb .psd .qoi .raf .rw2 .rwl .sgi .sr2 .srf .srw .svg .svgz .tga .wdp .wmf .x3f .xbm .xcf .xpm
"""
UNREAD = frozenset(_UNREAD.split()) - EXTENSIONS.keys()
"""Endings of pictures in formats that are not read: each gets a line that says so."""

ARRAY = ".npy"
"""Ending of an array in NumPy's format, which is filled like a picture."""

Pair: TypeAlias = tuple[str, Location | None]
"""The name of a picture, and its mask, if it has one."""


Item: TypeAlias = str | Path | tuple[str | Path, str | Path]
"""A picture of a list, or a picture with its mask."""


@dataclass(frozen=True)
class Job:
    """One result to make. The names of picture and output count from their folders, with `/` between.

    Attributes:
        picture: name of the picture.
        output: name of the result.
        mask: the file with its hole; None when boxes or the picture itself say where that is.
        problem: why nothing can be made of it; then the other fields may be empty.
        is_unmasked: the picture has no mask, and is to be passed over.
    """

    picture: str
    output: str = ""
    mask: Location | None = None
    problem: str | None = None
    is_unmasked: bool = False


@dataclass(frozen=True)
class _Search:
    """What a walk through folders goes by.

    Attributes:
        source: the folder with pictures.
        masks: the file or folder of masks; None: there are no mask files.
        closed: folders that are passed over.
        format: what is written; None: what was read.
        skip_unmasked: pass over pictures without a mask.
        one_for_all: `masks` is a file.
        together: `masks` is the folder with the pictures: there only numbered masks are masks.
    """

    source: Location
    masks: Location | None
    closed: frozenset[Location]
    format: str | None
    skip_unmasked: bool
    one_for_all: bool
    together: bool


def find_jobs(
    source: Location,
    out: Location,
    masks: Location | None = None,
    *,
    format: str | None = None,
    skip_unmasked: bool = False,
) -> Iterator[Job]:
    """Find what there is to fill in a folder and those below it, in a fixed order.

    A file is a picture by its ending, or by its first bytes if that says nothing. Pictures in formats that
    are not read get a job with a problem. Hidden files, files of other kinds, and the folders `out` and
    `masks` are left out; links to folders are not followed. A result has the name of its picture. Where
    another format is written, the ending changes; if two results would then have one name, the whole name of
    the picture goes into it: `a.jpg` and `a.bmp` as PNG become `a.jpg.png` and `a.bmp.png`.

    Args:
        source: the folder with pictures.
        out: the folder for results.
        masks: one file for all pictures, or a folder with the same tree, where the mask of `sub/a.jpg` is
            `sub/a.jpg.png`, else `sub/a.png` (of any picture format), else `sub/a_mask001.png` and so on. Of
            several numbered masks, each makes a result with its number: `sub/a_mask001.jpg`. This folder may
            be `source` itself: there only numbered masks are masks. None: there are no mask files. Names that
            differ in their Unicode form alone are the same.
        format: what is written; None: what was read, and PNG for formats that are not written.
        skip_unmasked: pass over pictures without a mask, instead of giving them a problem.

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
        closed = {out.resolve()} | ({masks.resolve()} if masks is not None else set())
        together = source.resolve() in closed
        one_for_all = masks is not None and _is_file(masks)
    except (OSError, RuntimeError) as error:  # a store that does not answer, a locked folder, a loop of links
        raise InputError(f"{source}: cannot be read ({describe_error(error)})") from error
    except ValueError as error:  # a null byte, or half a surrogate pair
        raise InputError(f"cannot use the folders {source} and {out} ({error})") from error
    closed -= {source.resolve()}
    search = _Search(source, masks, frozenset(closed), format, skip_unmasked, one_for_all, together)
    return _walk(search, PurePosixPath())


def check_list(name: str, value: object) -> None:
    """Refuse what is no list, nor anything else that goes item by item; open files and bytes are not.

    Raises:
        InputError: the message names the argument.
    """
    try:
        if is_no_list(value):
            raise TypeError
        iter(value)  # type: ignore[call-overload]
    except TypeError:
        raise InputError(f"{name} {show_value(value)} cannot be used: give a folder, or a list") from None


def list_jobs(
    items: Iterable[Item],
    masks: Location | None = None,
    *,
    format: str | None = None,
    skip_unmasked: bool = False,
) -> Iterator[Job]:
    """Yield what there is to fill of a list, in its order.

    Args:
        items: paths of pictures, or pairs of a picture and its mask.
        masks: for pictures without one of their own: one file, or a folder in which a mask has the name that
            `find_jobs` looks for. None: there are no mask files.
        format: what is written; None: what was read, and PNG for formats that are not written.
        skip_unmasked: pass over pictures that have no mask in that folder, instead of giving them a problem.

    Raises:
        InputError: an item is neither, or `masks` is not there.
    """
    one_for_all = masks is not None and _is_file(masks)
    if masks is not None and not (one_for_all or _is_folder(masks)):
        raise InputError(f"{masks}: no such mask file or folder")
    folder = Path.cwd()
    search = _Search(folder, masks, frozenset(), format, skip_unmasked, one_for_all, together=False)
    found = None if masks is None or one_for_all else _sort_masks(masks)
    taken: set[bytes] = set()
    for item in items:
        path, own = _read_item(item)
        if path.suffix and path.suffix.lower() not in {*EXTENSIONS, ARRAY}:
            yield Job(str(path), problem=f"{path.suffix} is not the ending of a supported picture format")
            continue
        several = [own or masks] if own or found is None else found.match(path.name)
        pairs = [(path.name, mask) for mask in several]
        for mask, result in zip(several, _name_results(pairs, format), strict=True):
            wanted = PurePosixPath(result)
            names = _number_names(wanted.stem, wanted.suffix)
            output = next(name for name in names if _shorten(name) not in taken)
            taken.add(_shorten(output))
            yield _make_job(search, str(path), output, mask, PurePosixPath())


def _number_names(stem: str, ending: str) -> Iterator[str]:
    """Yield the names that a result may have, the wanted one first: `a.png`, `a-2.png`, `a-3.png`."""
    yield stem + ending
    for number in count(2):
        yield f"{stem}-{number}{ending}"


def _read_item(item: Item) -> tuple[Path, Path | None]:
    """Return the path of a picture of a list, and its own mask."""
    pair = item if isinstance(item, tuple) else (item, None)
    if len(pair) != 2 or not isinstance(pair[0], str | Path) or not isinstance(pair[1], str | Path | None):
        raise InputError(f"an item of a list is a path, or a pair (picture, mask), not {show_value(item)}")
    picture, own = pair
    return Path(picture).absolute(), None if own is None else Path(own).absolute()


def _shorten(name: str) -> bytes:
    """Return what stands for a name in a set of many: 16 bytes."""
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:16]


def list_pictures(folder: Path) -> list[Path]:
    """Return the pictures in a folder, without those below it, by name.

    Raises:
        InputError: it is no folder that can be read.
    """
    try:
        names = list_folder(folder)[1] if folder.is_dir() else None
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({describe_error(error)})") from error
    if names is None:
        raise InputError(f"{folder}: no such folder")
    return [folder / name for name in names if _is_picture(folder, name) and not name.endswith(ARRAY)]


def _walk(search: _Search, here: PurePosixPath) -> Iterator[Job]:
    try:
        folders, files = list_folder(search.source / here)
        pairs = _find_masks(search, here, _choose_pictures(search, here, files))
    except OSError as error:
        yield Job(str(here), problem=f"the folder cannot be read ({describe_error(error)})")
        return
    yield from _make_jobs(search, here, pairs)
    for name in files:
        if PurePosixPath(name).suffix.lower() in UNREAD:
            problem = f"its format is not supported: convert it to one of {', '.join(FORMATS)}"
            yield Job(str(here / name), problem=problem)
    for name in folders:
        if (search.source / here / name).resolve() not in search.closed:
            yield from _walk(search, here / name)


def _choose_pictures(search: _Search, here: PurePosixPath, files: Sequence[str]) -> list[str]:
    """Return the names of the pictures among the files of a folder, without the masks that are there too."""
    folder = search.source / here
    names = [name for name in files if _is_picture(folder, name) and folder / name != search.masks]
    if not search.together:
        return names
    return [name for name in names if not NUMBERED.fullmatch(PurePosixPath(name).stem)]


def _is_file(place: Location) -> bool:
    """Return whether there is a file; there is none of a name that no file can have."""
    try:
        return place.is_file()
    except OSError:
        return False


def _is_folder(place: Location) -> bool:
    """Return whether there is a folder; there is none of a name that no folder can have."""
    try:
        return place.is_dir()
    except OSError:
        return False


def _is_picture(folder: Location, name: str) -> bool:
    """Return whether a file is a picture, by its ending, or by its first bytes if that says nothing."""
    ending = PurePosixPath(name).suffix.lower()
    if ending in EXTENSIONS or ending == ARRAY:
        return True
    if ending in UNREAD or not isinstance(folder, Path):
        return False
    path = folder / name
    try:
        return path.is_file() and sniff(_read_start(path)) is not None
    except OSError:
        return False


def _read_start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(256)


def _find_masks(search: _Search, here: PurePosixPath, pictures: Sequence[str]) -> list[Pair]:
    """Return each picture with each of its masks, or once with None."""
    if search.masks is None or search.one_for_all:
        return [(name, search.masks) for name in pictures]
    found = _sort_masks(search.masks / here)
    if search.together:
        found.by_stem.clear()
    return [(name, mask) for name in pictures for mask in found.match(name)]


class _Masks(NamedTuple):
    """Masks of a folder, by their stems, and numbered ones by the stems of their pictures."""

    by_stem: dict[str, Location]
    numbered: dict[str, list[Location]]

    def match(self, picture: str) -> Sequence[Location | None]:
        """Return the masks of a picture; None alone if there are none."""
        whole = normalize("NFC", picture)
        stem = PurePosixPath(whole).stem
        one = self.by_stem.get(whole, self.by_stem.get(stem))
        return [one] if one else self.numbered.get(stem, [None])


def _sort_masks(folder: Location) -> _Masks:
    """Return the masks in a folder."""
    found = _Masks({}, defaultdict(list))
    names = list_folder(folder)[1] if folder.is_dir() else []
    for name in names:
        if not _is_picture(folder, name):
            continue
        stem = normalize("NFC", PurePosixPath(name).stem)
        found.by_stem.setdefault(stem, folder / name)
        if match := NUMBERED.fullmatch(stem):
            found.numbered[match["stem"]].append(folder / name)
    return found


def _make_jobs(search: _Search, here: PurePosixPath, pairs: Sequence[Pair]) -> Iterator[Job]:
    """Make the jobs of a folder."""
    for (name, mask), result in zip(pairs, _name_results(pairs, search.format), strict=True):
        yield _make_job(search, str(here / name), str(here / result), mask, here)


def _make_job(search: _Search, picture: str, output: str, mask: Location | None, here: PurePosixPath) -> Job:
    """Make the job of a picture: to be filled by its mask, to be passed over, or with the problem of none."""
    if search.masks is None or mask is not None:
        return Job(picture, output, mask)
    if search.skip_unmasked:
        return Job(picture, output, is_unmasked=True)
    return Job(picture, output, problem=_explain_unmasked(search, here, PurePosixPath(picture).name))


def _name_results(pairs: Sequence[Pair], format: str | None) -> Iterator[str]:
    """Yield a name for the result of each pair, no two of them alike."""
    several = Counter(name for name, _ in pairs)
    wanted = [_name_result(name, mask if several[name] > 1 else None, format) for name, mask in pairs]
    counts = Counter(wanted)
    is_kept = [counts[want] == 1 or want == name for (name, _), want in zip(pairs, wanted, strict=True)]
    taken = set(compress(wanted, is_kept))
    for (name, _), result, keep in zip(pairs, wanted, is_kept, strict=True):
        if not keep:
            names = _number_names(name, PurePosixPath(result).suffix)
            result = next(each for each in names if each not in taken)
            taken.add(result)
        yield result


def _explain_unmasked(search: _Search, here: PurePosixPath, name: str) -> str:
    """Say which files would have been the mask of a picture."""
    stem = PurePosixPath(name).stem
    looked = [] if search.together else [f"{name}.png", f"{stem}.png"]
    looked.append(f"{stem}_mask001.png")
    folder = f"{search.masks}" if str(here) == "." else f"{search.masks}/{here}"
    return f"there is no mask for it: {folder} has none of {', '.join(looked)}, nor one of another format"


def _name_result(name: str, mask: Location | None, format: str | None) -> str:
    """Return the name of a result, which may be that of another one too."""
    path = PurePosixPath(name)
    numbered = mask and NUMBERED.fullmatch(mask.stem)
    stem = path.stem + (numbered["number"] if numbered else "")
    read = EXTENSIONS.get(path.suffix.lower(), "")
    if path.suffix.lower() == ARRAY or not (read or format):
        return stem + path.suffix
    kept = read if read in WRITABLE else "PNG"
    written = find_format(format) if format else kept
    return stem + (path.suffix if written == read else FORMATS[written].extensions[0])
