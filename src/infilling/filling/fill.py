"""One pipeline: plan, fill, paste. Every surface takes `fill_picture`; `fill` is the door for Python."""

import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from infilling.errors import InputError, ModelError
from infilling.filling import arrays, coarse
from infilling.filling.contract import Engine, check_hole
from infilling.filling.engine import ENGINES
from infilling.filling.kept import keep_open
from infilling.filling.seam import match_seam
from infilling.pictures import blend, frame, marks
from infilling.pictures import mask as masks
from infilling.pictures.files import decode, encode, from_pil, to_pil
from infilling.pictures.picture import EXTENSIONS, Floats, Picture, Samples, find_format, to_float
from infilling.storage import read_file, write_atomic

ImageKind = TypeVar("ImageKind", bound=str | Path | bytes | NDArray[Any] | Image.Image)
MaskSource = masks.Source | str


@dataclass(frozen=True)
class Options:
    """How the hole of a file is found, how it is filled, and how the result is written; see `fill`."""

    boxes: tuple[tuple[int, int, int, int], ...] = ()
    invert_mask: bool = False
    resize_mask: bool = False
    mask_from_alpha: bool = False
    mask_color: str | None = None
    grow: int = 0
    feather: int = 0
    format: str | None = None
    quality: int | None = None
    detail: bool = True
    mark: bool = False


class FilledFile(NamedTuple):
    """What became of a file: the bytes of the result, its picture, and the hole that was filled."""

    data: bytes
    picture: Picture
    hole: masks.Mask


def fill_picture(
    picture: Picture,
    mask: masks.Mask,
    engine: Engine,
    *,
    grow: int = 0,
    feather: int = 0,
    detail: bool = True,
) -> Picture:
    """Fill the holes of a picture.

    Known pixels, alpha, profile and metadata stay as they are: a pixel that was transparent is filled and
    still transparent. A grey picture stays grey. With 16 bits, what is filled lies within the range of the
    known values.

    Args:
        picture: of any size, 8 or 16 bit.
        mask: (H, W) bool, True = hole. If there is none, `picture` itself is returned.
        engine: what fills.
        grow: pixels to widen every hole by first; what that adds counts as hole.
        feather: pixels, from the hole's rim inwards, over which the fill is matched to the colours around it.
        detail: finish what an engine with a size of its own filled: match its colours at the seam and,
            unless it saw the whole picture as it is, redraw it with texture from around it; see `seam` and
            `detail`.

    Raises:
        InputError: the mask has another size, leaves nothing to fill from, or is not for this engine.
        ModelError: the engine fails.
    """
    size = picture.height, picture.width
    if mask.dtype != np.bool_ or mask.shape != size:
        raise InputError(f"the mask is {mask.dtype} {mask.shape}, but this picture takes bool {size}")
    hole = masks.grow(mask, grow)
    if not hole.any():
        return picture
    masks.require_known(hole)
    check_hole(engine, hole)
    if picture.pixels.dtype == np.uint8:
        return picture.with_pixels(_fill_holes(picture.pixels, hole, engine, feather, detail))
    low, high = (int(edge(picture.pixels[~hole])) for edge in (np.min, np.max))
    unit = 65535 / max(1, high - low)  # sensors use a part of the range: what is made stays in that part
    stretched = np.rint((np.clip(picture.pixels, low, high) - np.float64(low)) * unit).astype(np.uint16)
    filled = _fill_holes(stretched, hole, engine, feather, detail)
    pixels = picture.pixels.copy()
    pixels[hole] = np.rint(np.minimum(filled[hole] / unit, high - low)) + low
    return picture.with_pixels(pixels)


def _fill_holes(given: Samples, hole: masks.Mask, engine: Engine, feather: int, detail: bool) -> Samples:
    """Fill a copy of the pixels, region by region."""
    pixels, left = given.copy(), hole.copy()
    has_size = bool(engine.size_rule.working_size or engine.size_rule.fixed_size)
    regions = frame.plan(hole, engine.size_rule)
    coarse.warn(engine.size_rule, hole, max(max(region.core[2:]) for region in regions))
    for region in regions:
        image, unknown = region.cut(pixels, left)
        filled = coarse.fill_crop(engine, image, unknown)
        if filled.shape != image.shape:
            raise ModelError(f"engine {engine.name} gave {filled.shape} for an image {image.shape}")
        gaps = masks.bounding_box(left[region.box.slices])  # of other regions, too: `_finish` looks at these
        restored = region.restore(filled, gaps)
        if detail and has_size:
            restored = _finish(pixels, left, restored, region)
        blend.paste(pixels, restored, left, region, feather=feather, out=pixels)
        region.close(left)  # what is filled is known to the regions after this one
    return pixels


def _finish(pixels: Samples, hole: masks.Mask, restored: Floats, region: frame.Region) -> Floats:
    """Redraw a fill with texture from around it, the same every time, and match its colours at the seam.

    A network that saw the whole picture as it is has filled it as it learned to: that stays as it is. In a
    reduced crop its fill is blurred; in a part of a larger picture, of which it has seen few, copies of what
    is around the hole are sharper and nearer to the truth. `restored` is written to and returned.
    """
    is_reduced = region.size != (region.frame.height, region.frame.width)
    if is_reduced or (region.box.height, region.box.width) != hole.shape:
        from infilling.filling.detail import FIRM_HINT, HINT, REACH, recover  # not for small pictures

        near = masks.widen(region.core, REACH, region.box)
        inside = masks.shift(near, region.box).slices
        image, rng = to_float(pixels[near.slices]), np.random.default_rng(0)
        hint = HINT if is_reduced else FIRM_HINT
        restored[inside] = recover(image, hole[near.slices], restored[inside], rng, hint=hint)
    near = masks.widen(region.core, 2, region.box)
    inside = masks.shift(near, region.box).slices
    restored[inside] = match_seam(to_float(pixels[near.slices]), restored[inside], hole[near.slices])
    return restored


def fill_file(
    data: bytes,
    mask: MaskSource | None,
    engine: Engine,
    options: Options | None = None,
    *,
    max_pixels: int | None = None,
    name: str | None = None,
) -> FilledFile:
    """Fill the holes of a picture that is given as the bytes of its file.

    Where there is no hole, and no other format or quality is asked for, the bytes come back as they were.
    Errors call the picture by `name` if there is one.

    Raises:
        InputError: picture, mask or an option cannot be used.
        ModelError: the engine fails.
    """
    picture = decode(data, max_pixels=max_pixels, name=name)
    return _fill_decoded(data, picture, mask, engine, options or Options())


def _fill_decoded(
    data: bytes, picture: Picture, mask: MaskSource | None, engine: Engine, options: Options
) -> FilledFile:
    hole = masks.grow(_find_hole(picture, mask, options), options.grow)
    result = fill_picture(picture, hole, engine, feather=options.feather, detail=options.detail)
    if mask is None and options.mask_from_alpha and result is not picture:
        result = _make_opaque(result, hole)
    if options.mark and result is not picture:
        result = mark_as_filled(result, engine)
    target = find_format(options.format) if options.format else picture.format
    same = result is picture and options.quality is None and target == picture.format
    return FilledFile(data if same else encode(result, target, quality=options.quality), result, hole)


def mark_as_filled(picture: Picture, engine: Engine) -> Picture:
    """Say in the picture's XMP that parts of it are made up, and whether a trained network made them.

    Raises:
        InputError: its XMP is not such that it could be added to.
    """
    return marks.mark(
        picture, "compositeSynthetic" if engine.name in ENGINES else "compositeWithTrainedAlgorithmicMedia"
    )


def fill(
    image: ImageKind,
    mask: MaskSource | None = None,
    engine: str | Path | Engine = "default",
    *,
    boxes: Sequence[tuple[int, int, int, int]] | None = None,
    invert_mask: bool = False,
    resize_mask: bool = False,
    mask_from_alpha: bool = False,
    mask_color: str | None = None,
    grow: int = 0,
    feather: int = 0,
    out: str | Path | None = None,
    format: str | None = None,
    quality: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    max_pixels: int | None = None,
    bands: bool = False,
    detail: bool = True,
    mark: bool = False,
    patch_out: str | Path | None = None,
) -> ImageKind:
    """Fill the holes of an image and give back the same kind of thing.

    | image | result |
    |---|---|
    | path (`str` or `Path`) | path of the file written: `out`, else `photo.filled.jpg` beside `photo.jpg` |
    | bytes of a file | bytes of a file in the same format |
    | path of a `.npy` file | path of such a file: `out`, else `data.filled.npy` |
    | Pillow image | Pillow image: L, LA, RGB, RGBA, I;16 keep their mode, what else becomes L, RGB or RGBA |
    | array | array of the same shape and type |

    An array is (H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3) RGB, (H, W, 4) RGBA, or (H, W, C) of
    any data. uint8, uint16 and floats within [0, 1] are taken as they are; all else by the range of the known
    values, which a fill does not leave, in 65536 steps. In floats NaN is hole, with or without a mask; under
    a mask there may be anything. Where there is no hole, the content of a file is kept byte for byte. Arrays
    and images are never written to, and the result never shares their memory. Safe to call from several
    threads; engines opened by name are kept and shared.

    Args:
        image: what has holes. A file's EXIF turn is applied; Pillow images and arrays are taken as they are.
        mask: where, in the image's size; bright = hole. A path, bytes, a Pillow image, or an array of bool,
            integers or floats.
        engine: `default`, a name in the table, an ONNX file, a run folder, or an `Engine`.
        boxes: (x, y, width, height) of more holes.
        invert_mask: bright = keep.
        resize_mask: bring a mask of another size to the image's.
        mask_from_alpha: hole is what is transparent in `mask`, or in the image itself if there is no mask;
            then what is filled becomes opaque.
        mask_color: hole is what has this colour (`'#ff00ff'`), in `mask`, or in the image itself.
        grow: pixels to widen every hole by.
        feather: pixels, from the hole's rim inwards, over which the fill is matched to the colours around it.
        out: the file to write; only with a path.
        format: to write (`'PNG'`, `'jpg'`); only with a path or bytes. By default that of `out`, or else the
            image's own.
        quality: 1 to 100 for JPEG, WebP and AVIF; only with a path or bytes.
        threads: for a network opened by name or path; None takes all that this process may run on.
        device: for the same: `auto`, `cpu`, `cuda` or `cuda:i`.
        max_pixels: refuse larger files; None takes `INFILLING_MAX_PIXELS`, or 200 million.
        bands: all channels of an array are data, the last of 2 and 4 too.
        detail: match a network's colours at the seam, and redraw what it filled with texture from around it,
            unless it saw the whole picture as it is.
        mark: say in the XMP of a file, as IPTC's digital source type, that parts of it are made up.
        patch_out: write what was filled, alone, to this PNG too, with alpha and its place; only with a path
            or bytes.

    Raises:
        InputError: image, mask or an option cannot be used.
        ModelError: the engine or its file cannot be used.
        DependencyError: the engine needs a package that is not installed.
        StorageError: the file cannot be written.

    Example:
        >>> photo = np.full((8, 8, 3), 200, np.uint8)
        >>> fill(photo, boxes=[(2, 2, 3, 3)], engine="push-pull")[3, 3].tolist()
        [200, 200, 200]
    """
    if not isinstance(image, str | Path | bytes | np.ndarray | Image.Image):
        kind = type(image).__name__
        raise InputError(f"an image is a path, bytes, a Pillow image or an array, not {kind}")
    _check_kind(image, out, format, quality, patch_out)
    target = _find_target(image, out, format)
    options = Options(
        boxes=tuple(boxes or ()),
        invert_mask=invert_mask,
        resize_mask=resize_mask,
        mask_from_alpha=mask_from_alpha,
        mask_color=mask_color,
        grow=grow,
        feather=feather,
        format=target,
        quality=quality,
        detail=detail,
        mark=mark,
    )
    if isinstance(image, str | Path) and Path(image).suffix.lower() == ".npy":
        path = _fill_npy(Path(image), mask, keep_open(engine, threads, device), options, out, bands=bands)
        return cast(ImageKind, str(path) if isinstance(image, str) else path)
    if isinstance(image, str | Path | bytes):
        data = image if isinstance(image, bytes) else read_file(image)
        name = None if isinstance(image, bytes) else str(image)
        picture = decode(data, max_pixels=max_pixels, name=name)
        done = _fill_decoded(data, picture, mask, keep_open(engine, threads, device), options)
        if patch_out is not None:
            write_atomic(Path(patch_out), marks.make_patch(done.picture, done.hole))
        if isinstance(image, bytes):
            return cast(ImageKind, done.data)
        path = Path(out) if out else _name_result(Path(image), target or done.picture.format)
        write_atomic(path, done.data)
        return cast(ImageKind, str(path) if isinstance(image, str) else path)
    opened = keep_open(engine, threads, device)
    if isinstance(image, np.ndarray):
        return cast(ImageKind, _fill_array(image, mask, opened, options, bands=bands))
    picture = from_pil(image)
    hole = masks.grow(_find_hole(picture, mask, options), grow)
    result = fill_picture(picture, hole, opened, feather=feather, detail=detail)
    if mask is None and mask_from_alpha and result is not picture:
        result = _make_opaque(result, hole)
    return cast(ImageKind, image.copy() if result is picture else to_pil(result))


def find_hole(
    picture: Picture,
    mask: MaskSource | None = None,
    *,
    boxes: Sequence[tuple[int, int, int, int]] | None = None,
    invert: bool = False,
    resize: bool = False,
    from_alpha: bool = False,
    color: str | None = None,
) -> masks.Mask:
    """Put together the hole of a picture from all the ways in which it can be given; see `fill` for each.

    Returns:
        (H, W) bool: what the mask marks, and the boxes.

    Raises:
        InputError: nothing says where the hole is, or what says it cannot be used.
    """
    size = picture.height, picture.width
    hole = np.zeros(size, dtype=bool)
    if mask is None and not (from_alpha or color or boxes):
        raise InputError("nothing says where the hole is: give a mask, boxes, its colour, or take the alpha")
    if mask is None and not (from_alpha or color) and invert:
        raise InputError("boxes cannot be inverted: give a mask")
    if mask is not None or from_alpha or color:
        planes = [picture.pixels] if picture.alpha is None else [picture.pixels, picture.alpha]
        source = Path(mask) if isinstance(mask, str) else np.dstack(planes) if mask is None else mask
        hole = masks.read(source, size=size, invert=invert, resize=resize, from_alpha=from_alpha, color=color)
    if boxes:
        hole = hole | masks.from_boxes(boxes, *size)
    return hole


def _find_target(image: object, out: str | Path | None, format: str | None) -> str | None:
    """The format asked for; None: the image's own."""
    if format:
        return find_format(format)
    is_array = isinstance(image, str | Path) and Path(image).suffix.lower() == ".npy"
    return find_format(out) if out and Path(out).suffix and not is_array else None


def _find_hole(picture: Picture, mask: MaskSource | None, options: Options) -> masks.Mask:
    return find_hole(
        picture,
        mask,
        boxes=options.boxes,
        invert=options.invert_mask,
        resize=options.resize_mask,
        from_alpha=options.mask_from_alpha,
        color=options.mask_color,
    )


def _check_kind(
    image: object,
    out: str | Path | None,
    format: str | None,
    quality: int | None,
    patch_out: str | Path | None,
) -> None:
    kind = type(image).__name__
    if out is not None and not isinstance(image, str | Path):
        raise InputError(f"'out' is for an image given by its path, not for {kind}")
    if patch_out is not None and not isinstance(image, str | Path | bytes):
        raise InputError(f"'patch_out' is for files and their bytes, not for {kind}")
    if (format is not None or quality is not None) and not isinstance(image, str | Path | bytes):
        raise InputError(f"'format' and 'quality' are for files and their bytes, not for {kind}")


def _fill_array(
    array: NDArray[Any], mask: MaskSource | None, engine: Engine, options: Options, *, bands: bool
) -> NDArray[Any]:
    parts = arrays.take(array, bands=bands)
    said = mask is not None or options.boxes or options.mask_from_alpha or options.mask_color
    if said or not parts.missing.any():
        hole = _find_hole(arrays.preview(parts), mask, options)
    else:
        hole = np.zeros(array.shape[:2], dtype=bool)
    if options.grow:
        hole = masks.grow(hole | parts.gaps, options.grow)
    every = hole | parts.gaps
    parts = arrays.scale(parts, every)
    results = [
        fill_picture(picture, every, engine, feather=options.feather, detail=options.detail)
        for picture in arrays.to_pictures(parts)
    ]
    return arrays.give(array, parts, hole, results, opaque=mask is None and options.mask_from_alpha)


def _fill_npy(
    path: Path,
    mask: MaskSource | None,
    engine: Engine,
    options: Options,
    out: str | Path | None,
    *,
    bands: bool,
) -> Path:
    """Fill an array in NumPy's file format; nothing in such a file is ever executed."""
    if options.format or options.quality is not None or options.mark:
        raise InputError(f"{path}: an array stays an array; 'format', 'quality' and 'mark' are for pictures")
    try:
        array = np.load(io.BytesIO(read_file(path)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{path}: not an array in NumPy's format ({error})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{path}: holds several arrays; save the one to fill with numpy.save")
    file = io.BytesIO()
    np.save(file, _fill_array(array, mask, engine, options, bands=bands), allow_pickle=False)
    target = Path(out) if out else path.with_name(f"{path.stem}.filled.npy")
    write_atomic(target, file.getvalue())
    return target


def _make_opaque(picture: Picture, hole: masks.Mask) -> Picture:
    assert picture.alpha is not None  # the hole came from it
    alpha = picture.alpha.copy()
    alpha[hole] = np.iinfo(alpha.dtype).max
    return dataclasses.replace(picture, alpha=alpha)


def _name_result(path: Path, format: str) -> Path:
    """`photo.filled.jpg` beside `photo.jpg`; with the format's own ending if the file's would be wrong."""
    fits = EXTENSIONS.get(path.suffix.lower()) == format
    return path.with_name(f"{path.stem}.filled{path.suffix if fits else f'.{format.lower()}'}")
