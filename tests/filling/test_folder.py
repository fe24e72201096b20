"""What is found in a folder: pictures, their masks, and names for the results."""

from pathlib import Path

import pytest
from PIL import Image

from infilling.errors import InputError
from infilling.filling.folder import Job, find_jobs


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for folder in ("in/sub/deep", "in/.hidden", "masks/sub/deep", "out"):
        (tmp_path / folder).mkdir(parents=True)
    return tmp_path


def put(tree: Path, *names: str) -> None:
    for name in names:
        (tree / name).touch()


def names(jobs: object) -> list[tuple[str, str]]:
    return [(job.picture, job.output) for job in jobs]  # type: ignore[attr-defined]


def test_pictures_are_found_in_the_whole_tree_in_order(tree: Path) -> None:
    put(tree, "in/b.JPG", "in/a.png", "in/sub/deep/c.tiff", "in/notes.txt", "in/._a.png", "in/.hidden/d.png")
    assert names(find_jobs(tree / "in", tree / "out")) == [
        ("a.png", "a.png"),
        ("b.JPG", "b.JPG"),
        ("sub/deep/c.tiff", "sub/deep/c.tiff"),
    ]


def test_results_and_masks_inside_the_folder_are_no_pictures(tree: Path) -> None:
    put(tree, "in/a.png", "in/sub/a.png")
    (tree / "in/sub/deep/m").mkdir()
    put(tree, "in/sub/deep/m/a.png")
    found = list(find_jobs(tree / "in", tree / "in/sub", tree / "in/sub/deep/m"))
    assert found == [Job("a.png", "a.png", tree / "in/sub/deep/m/a.png")]


def test_links_to_folders_are_not_followed(tree: Path) -> None:
    put(tree, "in/a.png")
    (tree / "in/sub/loop").symlink_to(tree / "in")
    assert names(find_jobs(tree / "in", tree / "out")) == [("a.png", "a.png")]


@pytest.mark.parametrize(
    ("there", "taken"),
    [
        (["a.png", "a.jpg.png"], ["a.jpg.png"]),  # the whole name says it best
        (["a.png", "a_mask001.png"], ["a.png"]),
        (["a.bmp"], ["a.bmp"]),
        (["a_mask.png"], ["a_mask.png"]),
        (["a_MASK001.jpg", "ab_mask001.png"], ["a_MASK001.jpg"]),
        (["a_mask000.png", "a_mask001.png"], ["a_mask000.png", "a_mask001.png"]),
        (["a.txt", "b.png"], [None]),
    ],
)
def test_masks_are_paired_by_name(tree: Path, there: list[str], taken: list[str | None]) -> None:
    put(tree, "in/sub/a.jpg", *(f"masks/sub/{name}" for name in there))
    found = list(find_jobs(tree / "in", tree / "out", tree / "masks"))
    assert [job.mask and job.mask.name for job in found] == taken
    assert [job.problem is None for job in found] == [name is not None for name in taken]


def test_a_mask_of_another_folder_does_not_count(tree: Path) -> None:
    put(tree, "in/sub/a.png", "masks/a.png")
    [job] = find_jobs(tree / "in", tree / "out", tree / "masks")
    assert job.mask is None
    assert job.problem == (
        f"there is no mask for it: {tree}/masks/sub has none of a.png.png, a.png, a_mask001.png, "
        "nor one of another format"
    )
    [job] = find_jobs(tree / "in", tree / "out", tree / "masks", skip_unmasked=True)
    assert (job.problem, job.is_unmasked) == (None, True)


def test_names_in_either_unicode_form_are_one(tree: Path) -> None:
    composed, apart = "caf\u00e9", "cafe\u0301"
    put(tree, f"in/{composed}.jpg", f"in/sub/{apart}.jpg")
    put(tree, f"masks/{apart}.png", f"masks/sub/{composed}_mask001.png")
    found = list(find_jobs(tree / "in", tree / "out", tree / "masks"))
    assert [job.mask and job.mask.name for job in found] == [f"{apart}.png", f"{composed}_mask001.png"]
    assert [job.output for job in found] == [f"{composed}.jpg", f"sub/{apart}.jpg"]


def test_what_is_not_read_has_a_job_that_says_so(tree: Path) -> None:
    put(tree, "in/a.CR2", "in/b.jxl", "in/c.jfif", "in/d.HEIC", "in/notes.txt", "in/a.xmp")
    found = {job.picture: job.problem for job in find_jobs(tree / "in", tree / "out")}
    assert list(found) == ["c.jfif", "d.HEIC", "a.CR2", "b.jxl"]
    assert [found[name] is None for name in found] == [True, True, False, False]
    assert "its format is not supported: convert it to one of PNG, JPEG" in str(found["b.jxl"])


def test_a_picture_without_an_ending_is_known_by_its_first_bytes(tree: Path) -> None:
    Image.new("L", (4, 4)).save(tree / "in/scan", "PNG")
    put(tree, "in/README", "in/a.npy")
    assert names(find_jobs(tree / "in", tree / "out")) == [("a.npy", "a.npy"), ("scan", "scan")]
    as_jpeg = names(find_jobs(tree / "in", tree / "out", format="jpg"))
    assert as_jpeg == [("a.npy", "a.npy"), ("scan", "scan.jpg")]


def test_a_picture_with_another_ending_is_known_by_its_first_bytes(tree: Path) -> None:
    for name in ("a.dib", "b.jpg_large", "c.JPG~"):
        Image.new("RGB", (4, 3)).save(tree / "in" / name, "JPEG")
    put(tree, "in/d.bin", "in/e.jpg.part")
    same = [(name, name) for name in ("a.dib", "b.jpg_large", "c.JPG~")]
    assert names(find_jobs(tree / "in", tree / "out")) == same
    assert names(find_jobs(tree / "in", tree / "out", format="png"))[0] == ("a.dib", "a.png")


def test_a_link_to_itself_takes_nothing_else_with_it(tree: Path) -> None:
    put(tree, "in/a.png", "in/sub/b.png")
    (tree / "in/loop").symlink_to("loop")
    (tree / "in/loop.png").symlink_to("loop.png")
    found = [job.picture for job in find_jobs(tree / "in", tree / "out")]
    assert found == ["a.png", "loop.png", "sub/b.png"]


def test_several_masks_of_one_picture_make_several_results(tree: Path) -> None:
    put(tree, "in/a.jpg", "masks/a_mask000.png", "masks/a_mask001.png")
    found = list(find_jobs(tree / "in", tree / "out", tree / "masks"))
    assert [job.output for job in found] == ["a_mask000.jpg", "a_mask001.jpg"]


def test_masks_may_lie_beside_the_pictures(tree: Path) -> None:
    put(tree, "in/a.jpg", "in/a_mask001.png", "in/b.png")
    found = list(find_jobs(tree / "in", tree / "out", tree / "in"))
    assert found[0] == Job("a.jpg", "a.jpg", tree / "in/a_mask001.png")
    assert (found[1].picture, found[1].mask) == ("b.png", None)
    assert len(found) == 2


def test_one_file_is_the_mask_of_all_and_no_picture(tree: Path) -> None:
    put(tree, "in/a.jpg", "in/sub/b.png", "in/mask.png")
    found = list(find_jobs(tree / "in", tree / "out", tree / "in/mask.png"))
    assert found == [
        Job("a.jpg", "a.jpg", tree / "in/mask.png"),
        Job("sub/b.png", "sub/b.png", tree / "in/mask.png"),
    ]


@pytest.mark.parametrize(
    ("there", "format", "given"),
    [
        (["a.jpg", "a.png"], None, ["a.jpg", "a.png"]),  # formats are kept: nothing collides
        (["a.jpg", "a.png"], "png", ["a.jpg.png", "a.png"]),
        (["a.bmp", "a.jpg"], "png", ["a.bmp.png", "a.jpg.png"]),
        (["a.gif", "a.png"], None, ["a.gif.png", "a.png"]),
        (["a.gif"], None, ["a.png"]),
        (["a.JPEG", "b.jpg"], "jpg", ["a.JPEG", "b.jpg"]),
        (["a.jpg", "a.jpg.png", "a.png"], "png", ["a.jpg-2.png", "a.jpg.png", "a.png"]),
        (["a.webp"], "tiff", ["a.tif"]),
    ],
)
def test_every_result_has_a_name_of_its_own(
    tree: Path, there: list[str], format: str | None, given: list[str]
) -> None:
    put(tree, *(f"in/{name}" for name in there))
    assert [job.output for job in find_jobs(tree / "in", tree / "out", format=format)] == given


@pytest.mark.parametrize(
    ("source", "out", "masks", "message"),
    [
        ("none", "out", None, "no such folder"),
        ("in", "in", None, "would replace the pictures"),
        ("in", "out", "none.png", "no such mask"),
    ],
)
def test_what_cannot_work_is_refused(
    tree: Path, source: str, out: str, masks: str | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        find_jobs(tree / source, tree / out, masks and tree / masks)  # type: ignore[arg-type]
