"""The table of formats, and everything that must agree with it."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infilling.errors import DependencyError, InputError
from infilling.filling import folder
from infilling.filling.options import list_options
from infilling.locations import locate
from infilling.pictures import holes
from infilling.pictures.files import decode, encode
from infilling.pictures.picture import EXTENSIONS, FORMATS, WRITABLE, Picture, find_format
from infilling.pictures.writers import WRITERS

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "src" / "infilling" / "serving" / "web"


def test_every_writable_format_has_a_writer_and_keeps_its_depths() -> None:
    assert set(WRITERS) == set(WRITABLE)
    for name in WRITABLE:
        for bits in FORMATS[name].depths:
            pixels = np.random.default_rng(bits).integers(0, 1 << bits, (9, 7, 3)).astype(f"u{bits // 8}")
            again = decode(encode(Picture(pixels), name))
            assert (again.format, again.pixels.dtype) == (name, pixels.dtype)
        if 16 not in FORMATS[name].depths:
            assert decode(encode(Picture(np.zeros((4, 4, 3), np.uint16)), name)).pixels.dtype == np.uint8


def test_every_extension_stands_for_its_format() -> None:
    for ending, name in EXTENSIONS.items():
        if name in WRITABLE:
            assert find_format(f"photo{ending}") == find_format(ending.upper()) == name
            continue
        with pytest.raises(InputError, match=f"{ending[1:].upper()} is read only: png keeps every pixel"):
            find_format(f"photo{ending}")


def test_masks_and_folders_take_every_readable_file(tmp_path: Path) -> None:
    data = encode(Picture(np.zeros((4, 4, 1), np.uint8)))
    for ending in EXTENSIONS:
        (tmp_path / "in" / ending[1:]).mkdir(parents=True)
        (tmp_path / "in" / ending[1:] / f"a{ending}").write_bytes(data)
    jobs = list(folder.find_jobs(locate(tmp_path / "in"), locate(tmp_path / "out")))
    assert {Path(job.picture).suffix for job in jobs} == set(EXTENSIONS)
    outputs = {Path(job.picture).suffix: Path(job.output).suffix for job in jobs}
    assert outputs[".jfif"] == ".jfif"
    assert outputs[".gif"] == outputs[".heic"] == ".png"
    assert len(holes._Folder(tmp_path / "in")._files) == len(EXTENSIONS)


def test_the_page_and_the_docs_name_every_format() -> None:
    accepted = re.search(
        r'id="file-input" accept="([^"]*)"', (WEB / "index.html").read_text(encoding="utf-8")
    )
    assert accepted is not None
    names = accepted[1].split(",")
    assert "image/*" in names
    browsers = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".gif"}
    assert set(EXTENSIONS) - browsers <= set(names)
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert f"{', '.join(FORMATS)} |" in page
    format = next(option for option in list_options() if option.name == "format")
    assert all(name.lower() in format.help for name in WRITABLE)


def test_jpegs_of_any_ending_are_filled_under_their_own(tmp_path: Path, infill) -> None:
    photo = Path(ROOT / "examples" / "pictures" / "cat.jpg").read_bytes()
    (tmp_path / "cat.jfif").write_bytes(photo)
    ran = infill("fill", tmp_path / "cat.jfif", "--box", "9,9,9,9", "-e", "push-pull")
    assert ran.lines == [str(tmp_path / "cat.filled.jfif")]


def make_heic(image: Image.Image, **options: object) -> bytes:
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    file = io.BytesIO()
    heif.from_pillow(image).save(file, **options)
    return file.getvalue()


def test_heic_is_read_upright_and_goes_on_as_png() -> None:
    y, x = np.mgrid[:64, :96]
    pixels = np.dstack([2 * x, 3 * y, 255 - 2 * x]).astype(np.uint8)
    picture = decode(make_heic(Image.fromarray(pixels), quality=95))
    assert picture.format == "PNG"
    assert np.abs(picture.pixels.astype(int) - pixels).mean() < 4
    alpha = np.where(x > 40, 255, 0).astype(np.uint8)
    seen = decode(make_heic(Image.fromarray(np.dstack([pixels, alpha])), quality=95))
    assert seen.alpha is not None
    assert (seen.alpha[:, 60:] > 250).all()
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    turned = decode(make_heic(Image.fromarray(pixels), quality=95, exif=exif.tobytes()))
    assert turned.pixels.shape == (96, 64, 3)
    assert turned.exif is not None
    assert b"a camera" in turned.exif
    with pytest.raises(InputError, match="more than the limit"):
        decode(make_heic(Image.fromarray(pixels)), max_pixels=100)
    data = make_heic(Image.fromarray(pixels))
    with pytest.raises(InputError, match="damaged or truncated HEIC"):
        decode(data[: len(data) // 2])


def test_deep_heic_says_that_it_is_read_in_8_bits() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    file, pixels = io.BytesIO(), np.full((32, 48, 3), 40_000, np.uint16)
    heif.from_bytes("RGB;16", (48, 32), pixels.tobytes()).save(file, quality=95)
    assert decode(file.getvalue()).warnings == ("its 10 bits per channel are read as 8",)
    assert decode(make_heic(Image.new("RGB", (48, 32)))).warnings == ()


def test_heic_without_its_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_heic(Image.new("RGB", (16, 16)))
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(DependencyError, match=r"HEIC pictures need pillow-heif: .*pip install"):
        decode(data)


def test_further_pictures_of_an_mpo_are_said_to_be_lost(tmp_path: Path, infill) -> None:
    photo = Image.new("RGB", (40, 30), (90, 120, 60))
    photo.save(tmp_path / "stereo.mpo", save_all=True, append_images=[photo])
    ran = infill("batch", tmp_path, tmp_path / "out", "--box", "9,9,9,9", "-e", "push-pull")
    assert ran.code == 0, ran.err
    assert "further pictures" in ran.err
    assert (tmp_path / "out" / "stereo.mpo").read_bytes().count(b"\xff\xd8\xff") == 1
