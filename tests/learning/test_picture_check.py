"""`check` counts what is there, and says of every bad file why."""

import io
import tarfile

import pytest

from infilling.errors import DataError
from infilling.learning.picture_check import DataReport, check_pictures, describe_report


def test_a_folder_with_good_and_bad(tmp_path, tree, draw):
    folder = tree(
        tmp_path,
        {
            "sea/1.png": draw(1, 40, 60),
            "sea/2.jpg": draw(2, 40, 60, "JPEG"),
            "hut/1.jpg": draw(3, 300, 200, "JPEG"),
            "hut/2.jpg": draw(4, 80, 80, "JPEG")[:-700],
            "hut/3.png": b"no picture",
            "loose.webp": draw(5, 40, 60, "WEBP"),
            "readme.txt": b"",
        },
    )
    with open(folder / "huge.png", "wb") as file:
        file.truncate(5 << 30)
    report = check_pictures(folder, workers=2)
    assert report.count == 4
    assert report.classes == {"": 1, "hut": 1, "sea": 2}
    assert report.sizes == {(40, 60): 3, (300, 200): 1}
    assert report.short_sides() == (40, 40.0, 200)
    assert [name for name, _ in report.bad] == ["huge.png", "hut/2.jpg", "hut/3.png"]
    assert "more bytes than the limit" in report.bad[0].reason
    assert "truncated" in report.bad[1].reason
    assert report.ignored == {".txt": 1}
    lines = list(describe_report(report))
    assert lines[0] == "4 pictures, 2 classes, 3 bad"
    assert lines[1] == "short side 40 to 200 px, median 40"
    assert "  60×40: 3" in lines
    assert "  sea: 2" in lines
    assert any(line.startswith("  bad: hut/3.png: ") for line in lines)
    assert lines[-1] == "other files: 1 .txt"


def test_a_cut_shard(tmp_path, draw):
    path = tmp_path / "p.tar"
    with tarfile.open(path, "w") as archive:
        for seed in range(3):
            data = draw(seed)
            info = tarfile.TarInfo(f"top/{seed}/1.png")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        end = archive.offset
    path.write_bytes(path.read_bytes()[: end - 600])
    report = check_pictures([path])
    assert report.count == 2
    assert [name for name, _ in report.bad] == ["p.tar", "top/2/1.png"]


def test_only_bad_pictures_are_a_report_too(tmp_path, tree):
    report = check_pictures(tree(tmp_path, {"1.jpg": b""}))
    assert report == DataReport(0, {}, {}, report.bad, {})
    assert report.short_sides() == (0, 0.0, 0)
    assert list(describe_report(report)) == [
        "0 pictures, 0 classes, 1 bad",
        "  bad: 1.jpg: the file is empty",
    ]


def test_long_lists_are_cut(tmp_path, tree, draw):
    report = check_pictures(tree(tmp_path, {f"c{n}/1.png": draw(n, 10 + n, 40) for n in range(9)}))
    lines = list(describe_report(report, most=4))
    assert "  … and 5 more classes" in lines
    assert "  … and 5 more sizes" in lines
    assert len(lines) == 2 + 5 + 5


def test_progress_and_refusal(tmp_path, tree, draw):
    done: list[tuple[int, int]] = []
    check_pictures(
        tree(tmp_path / "in", {f"{n}.png": draw(n) for n in range(3)}), progress=lambda *at: done.append(at)
    )
    assert done[-1] == (3, 3)
    with pytest.raises(DataError, match="nothing at"):
        check_pictures(tmp_path / "missing")


def test_real_photographs(data_dir):
    report = check_pictures(data_dir / "photos")
    assert (report.count, report.bad) == (4, ())
    assert report.short_sides()[0] > 1000
