"""Networks of others as engines, on synthetic files of each family's names, shapes and types."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image
from tests.filling import published

from infilling.errors import InfillingWarning, InputError, ModelError
from infilling.filling.batch import batch
from infilling.filling.engine import open_engine
from infilling.filling.families import FAMILIES
from infilling.filling.fill import fill
from infilling.filling.foreign import ForeignEngine
from infilling.filling.options import FillOptions
from infilling.pictures.frame import SizeRule

COLOUR = np.array([200, 90, 40], np.uint8)

FILES: dict[str, tuple[Callable[[Path], Path], str, tuple[float, float], SizeRule]] = {
    "a": (published.lama, "lama", (0, 255), SizeRule(fixed_size=512)),
    "a any size": (
        lambda path: published.lama(path, sides=published.FREE, names=("x", "y", "z"), mask_first=True),
        "lama",
        (0, 255),
        SizeRule(multiple_of=8, working_size=512),
    ),
    "a half": (
        lambda path: published.lama(path, kind=published.HALF),
        "lama",
        (0, 255),
        SizeRule(fixed_size=512),
    ),
    "b": (lambda path: published.lama(path, top=1), "lama", (0, 1), SizeRule(fixed_size=512)),
    "b painted": (
        lambda path: published.lama(path, top=1, batch=1, names=("image", "mask", "painted_image")),
        "lama",
        (0, 1),
        SizeRule(fixed_size=512),
    ),
    "c": (published.lama_packed, "lama-packed", (0, 1), SizeRule(fixed_size=512)),
    "c any size": (
        lambda path: published.lama_packed(path, sides=published.FREE),
        "lama-packed",
        (0, 1),
        SizeRule(multiple_of=32, working_size=512),
    ),
    "d1": (published.migan_pipeline, "migan-pipeline", (0, 255), SizeRule(working_size=512)),
    "d2": (published.migan, "migan", (-1, 1), SizeRule(fixed_size=512)),
    "e": (published.aot, "aot", (-1, 1), SizeRule(multiple_of=8, working_size=512)),
    "f": (published.deepfill, "deepfill", (-1, 1), SizeRule(fixed_size=256)),
    "f alone": (
        lambda path: published.deepfill(path, outputs=["fine"]),
        "deepfill",
        (-1, 1),
        SizeRule(fixed_size=256),
    ),
}

OTHERS: dict[str, tuple[dict[str, Any], str, int]] = {
    "0 in the hole": ({"mask_values": (1, 0)}, "lama", 8),
    "sides of 16": ({"step": 16}, "lama", 16),
    "sides of 64": ({"step": 64}, "lama", 64),
    "bytes as floats": ({"white": 255}, "lama-bytes", 8),
    "a mask of 255 too": ({"white": 255, "mask_values": (0, 255)}, "lama-bytes", 8),
    "uint8": ({"white": 255, "mask_values": (0, 255), "kind": published.BYTES}, "lama-bytes", 8),
    "uint8, a mask of 1": ({"white": 255, "kind": published.BYTES}, "lama-bytes", 8),
    "uint8, 1 where known": (
        {"white": 255, "mask_values": (1, 0), "kind": published.BYTES, "names": ("a", "b", "painted")},
        "lama-bytes",
        8,
    ),
    "a picture called mask": ({"names": ("mask_image", "m", "out")}, "lama", 8),
}


@pytest.fixture(params=FILES)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str, tuple[float, float], SizeRule]:
    make, *expected = FILES[request.param]
    return make(tmp_path / "network.onnx"), *expected  # type: ignore[return-value]


def off_centre(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[height // 8 : height // 3, width // 2 : width * 4 // 5] = True
    return mask


def test_a_file_is_recognised_and_fills_with_the_right_colour(made: Any) -> None:
    path, family, result, rule = made
    engine = open_engine(path)
    assert isinstance(engine, ForeignEngine)
    assert (engine.family.name, engine.result, engine.size_rule) == (family, result, rule)
    assert engine.trained
    for height, width in ((90, 70), (540, 530)):
        image = np.broadcast_to(COLOUR, (height, width, 3)).copy()
        mask = off_centre(height, width)
        image[mask] = 0  # what the hole hides must not bleed in
        filled = fill(image, mask, engine, detail=False)
        np.testing.assert_array_equal(filled[~mask], image[~mask])
        assert np.abs(filled[mask].astype(int) - COLOUR).max() <= 1
        again = fill(image, mask, path, detail=False, adapter=family)
        np.testing.assert_array_equal(again, filled)


@pytest.mark.parametrize("other", OTHERS)
def test_conventions_of_other_exporters_are_found(other: str, tmp_path: Path) -> None:
    how, family, step = OTHERS[other]
    engine = open_engine(published.lama(tmp_path / "x.onnx", sides=published.FREE, **how))
    assert isinstance(engine, ForeignEngine)
    assert (engine.family.name, engine.result) == (family, (0, 255))
    assert engine.size_rule == SizeRule(multiple_of=step, working_size=512)
    image, mask = np.broadcast_to(COLOUR, (90, 170, 3)).copy(), off_centre(90, 170)
    image[mask] = 255
    filled = fill(image, mask, engine, detail=False)
    assert np.abs(filled[mask].astype(int) - COLOUR).max() <= 1


def test_a_network_that_gives_back_what_covers_the_hole_is_refused(tmp_path: Path) -> None:
    path = published.nothing(tmp_path / "x.onnx")
    with pytest.raises(
        ModelError, match="gives a plain picture back by no convention of aot, lama"
    ) as caught:
        open_engine(path)
    assert "\n" not in str(caught.value)
    assert open_engine(path, adapter="lama").trained  # as was asked for


def test_a_large_solid_hole_is_filled_in_a_reduced_crop(made: Any) -> None:
    path, *_ = made
    image = np.broadcast_to(COLOUR, (900, 800, 3)).copy()
    mask = np.zeros((900, 800), bool)
    mask[200:500, 150:600] = True
    image[mask] = 0
    filled = fill(image, mask, path, detail=False)
    assert np.abs(filled[mask].astype(int) - COLOUR).max() <= 1


def test_the_fill_is_the_mean_of_the_crop_that_the_network_sees(made: Any) -> None:
    """A network of 256 px sees less of the picture than one of 512 px, so its mean is another one."""
    seen: list[np.ndarray] = []

    class Watched(ForeignEngine):
        def fill(self, image: Any, mask: Any) -> Any:
            seen.append(image[0][:, mask[0, 0] == 0].mean(axis=1) * 255)
            return super().fill(image, mask)

    opened = open_engine(made[0])
    assert isinstance(opened, ForeignEngine)
    ramp = np.linspace(0, 255, 700).astype(np.uint8)
    image = np.broadcast_to(ramp[:, None, None], (700, 700, 3)).copy()
    mask = np.zeros((700, 700), bool)
    mask[60:160, 300:400] = True
    filled = fill(image, mask, Watched(opened.session), detail=False)
    assert np.abs(filled[mask] - seen[0]).max() <= 1.5


def test_holes_take_at_most_two_fifths_of_the_window_and_distant_ones_are_apart(tmp_path: Path) -> None:
    seen: list[tuple[tuple[int, ...], float]] = []

    class Watched(ForeignEngine):
        def fill(self, image: Any, mask: Any) -> Any:
            rows = np.flatnonzero(mask[0, 0].any(axis=1))
            seen.append((image.shape[2:], (rows[-1] - rows[0] + 1) / image.shape[2]))
            return super().fill(image, mask)

    opened = open_engine(published.lama(tmp_path / "a.onnx"))
    assert isinstance(opened, ForeignEngine)
    mask = np.zeros((2000, 3000), bool)
    mask[700:1200, 300:800] = True
    mask[900:940, 2700:2740] = True
    fill(np.zeros((2000, 3000, 3), np.uint8), mask, Watched(opened.session), detail=False)
    assert len(seen) == 2
    assert all(size == (512, 512) and share <= 0.4 for size, share in seen)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_pictures_and_alpha_go_through(dtype: Any, tmp_path: Path) -> None:
    top = 65535 if dtype == np.uint16 else 1.0
    image = np.random.default_rng(0).random((200, 300, 4))
    image = (image * top).astype(dtype)
    mask = off_centre(200, 300)
    filled = fill(image, mask, published.lama(tmp_path / "a.onnx"))
    np.testing.assert_array_equal(filled[~mask], image[~mask])
    np.testing.assert_array_equal(filled[..., 3], image[..., 3])
    assert filled.dtype == dtype


def test_a_constant_fill_is_told_by_what_lies_around_it(tmp_path: Path) -> None:
    doubt = "does not give a plain picture back: it is taken for lama; look at what it fills"
    others = {255.0: "$", 1.0: ", or take --adapter aot$"}
    for value, top, name in ((64.0, 255.0, "x"), (0.25, 1.0, "x"), (64.0, 255.0, "lama")):
        with pytest.warns(InfillingWarning, match=doubt + others[top]):
            engine = open_engine(published.constant_lama(tmp_path / f"{name}.onnx", value, top))
        assert isinstance(engine, ForeignEngine)
        assert engine.result == (0, top)
        image, mask = np.full((100, 100, 3), 200, np.uint8), off_centre(100, 100)
        assert np.abs(fill(image, mask, engine, detail=False)[mask].astype(int) - 64).max() <= 1


def test_the_name_of_a_file_speaks_where_nothing_else_does(tmp_path: Path) -> None:
    """Networks that are linear fit both conventions, and give the same fill by both."""
    lama = open_engine(published.lama(tmp_path / "lama-manga.onnx", sides=published.FREE, top=1))
    other = open_engine(published.lama(tmp_path / "x.onnx", sides=published.FREE, top=1))
    assert isinstance(lama, ForeignEngine)
    assert isinstance(other, ForeignEngine)
    assert (lama.family.name, other.family.name) == ("lama", "aot")
    image, mask = np.random.default_rng(0).random((1, 3, 128, 128), np.float32), np.zeros((1, 1, 128, 128))
    mask[..., 20:50, 60:100] = 1
    fills = [each.fill(image, mask.astype(np.float32)) for each in (lama, other)]
    np.testing.assert_allclose(fills[0], fills[1], atol=1e-6)


@pytest.mark.parametrize(("low", "family"), [(0, "lama"), (-1, "aot")])
def test_a_range_below_0_is_found_by_a_dark_picture(low: float, family: str, tmp_path: Path) -> None:
    engine = open_engine(published.bounded(tmp_path / "x.onnx", low))
    assert isinstance(engine, ForeignEngine)
    assert (engine.family.name, engine.result) == (family, (low, 1))


def test_a_range_that_a_dark_picture_is_in_by_chance_is_refused(tmp_path: Path) -> None:
    """Values from -0.5 to 0.5 hold the dark colour as it is in 0 to 1, and cut off the bright one."""
    with pytest.raises(ModelError, match="gives a plain picture back by no convention of"):
        open_engine(published.bounded(tmp_path / "x.onnx", -0.5, 0.5))


def test_the_first_of_several_pictures_is_taken_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(InfillingWarning, match=r"that x gives \(coarse, fine\) the first is taken"):
        open_engine(published.two_pictures(tmp_path / "x.onnx"))


def test_a_fill_that_keeps_half_of_what_covers_the_hole_is_reported(tmp_path: Path) -> None:
    with pytest.warns(InfillingWarning, match="does not give a plain picture back"):
        open_engine(published.half_blended(tmp_path / "x.onnx"))


# -- refusals ------------------------------------------------------------------------------------------------


def test_a_file_of_no_family_is_refused_with_its_names_and_shapes(tmp_path: Path) -> None:
    path = published.no_family(tmp_path / "sum.onnx")
    with pytest.raises(ModelError, match="no known family") as caught:
        open_engine(path)
    text = str(caught.value)
    assert "left float [any, 3, any, any]; right float [any, 3, any, any] → sum float" in text
    assert "docs/foreign.md" in text
    assert "\n" not in text


def test_an_adapter_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    path = published.lama(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="does not fit the adapter migan: it has image float"):
        open_engine(path, adapter="migan")
    with pytest.raises(ModelError, match="there is no adapter 'lma'; did you mean lama"):
        open_engine(path, adapter="lma")
    with pytest.raises(InputError, match="mean needs no adapter"):
        open_engine("mean", adapter="lama")


@pytest.mark.parametrize("sides", [(512, 768), (4, 4), (65_536, 65_536)])
def test_an_oblong_tiny_or_huge_size_is_refused(sides: tuple[int, int], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"takes pictures of {sides[1]}×{sides[0]} only: it has to be"):
        open_engine(published.lama(tmp_path / "a.onnx", sides=sides, top=1))


def test_a_size_that_the_network_cannot_take_is_one_line(tmp_path: Path) -> None:
    engine = open_engine(published.lama_packed(tmp_path / "c.onnx", sides=published.FREE))
    image, mask = np.zeros((1, 3, 40, 40), np.float32), np.zeros((1, 1, 40, 40), np.float32)
    with pytest.raises(ModelError, match="c failed on 40×40 pixels") as caught:
        engine.fill(image, mask)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["nan", "shape", "channels"])
def test_an_answer_that_is_no_picture_is_refused(damage: str, tmp_path: Path) -> None:
    g = published.Graph()
    sides: list[int | str] = ["n", 3, "h", "w"]
    if damage == "nan":
        g.add("Div", g.add("Mul", "image", g.constant(0)), g.constant(0), out="output")
    elif damage == "shape":
        g.add("AveragePool", "image", out="output", kernel_shape=[2, 2], strides=[2, 2])
    else:
        g.add("Concat", "image", "mask", out="output", axis=1)
        sides = ["n", "c", "h", "w"]
    inputs = [("image", published.FLOAT, ["n", 3, "h", "w"]), ("mask", published.FLOAT, ["n", 1, "h", "w"])]
    path = g.save(tmp_path / "x.onnx", inputs, [("output", published.FLOAT, sides)])
    with pytest.raises(
        ModelError, match=r"x gave (values that are no numbers|\(.*\) for an image)|output float \[any, 4"
    ):
        fill(np.zeros((64, 64, 3), np.uint8), off_centre(64, 64), path, out=None, detail=False)


# -- external data -------------------------------------------------------------------------------------------


def save_apart(path: Path, location: str = "weights.bin") -> Path:
    return published.lama(
        path, save_as_external_data=True, location=location, size_threshold=1024, all_tensors_to_one_file=True
    )


def test_weights_beside_the_graph_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_apart(tmp_path / "a.onnx")
    assert (tmp_path / "weights.bin").is_file()
    monkeypatch.chdir("/")
    engine = open_engine(path)
    assert isinstance(engine, ForeignEngine)
    assert engine.result == (0, 255)


def test_missing_and_damaged_weights_are_one_line(tmp_path: Path) -> None:
    path = save_apart(tmp_path / "a.onnx")
    (tmp_path / "weights.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="cannot open the model") as caught:
        open_engine(path)
    assert "\n" not in str(caught.value)
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ModelError, match=r"keeps its weights in weights\.bin, which is not beside it"):
        open_engine(path)


@pytest.mark.parametrize("name", ["../weights.bin", "/etc/passwd", "link.bin", "a/../../weights.bin"])
def test_weights_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    path = save_apart(folder / "a.onnx")
    (folder / "weights.bin").rename(tmp_path / "weights.bin")
    (folder / "link.bin").symlink_to(tmp_path / "weights.bin")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = name
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="outside of its own folder: refused"):
        open_engine(path)


def test_the_server_refuses_weights_in_a_second_file(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the server needs it")
    from infilling.serving.engines import offer_engines

    [offer] = offer_engines([str(save_apart(tmp_path / "a.onnx"))])
    with pytest.raises(ModelError, match="keeps its weights in a second file"):
        offer.open(1)


def test_the_server_offers_each_of_two_files_with_one_name(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the server needs it")
    from infilling.serving.engines import offer_engines

    files = [tmp_path / "a" / "x.onnx", tmp_path / "b" / "x.onnx", tmp_path / "run" / "model.onnx"]
    for file in files:
        file.parent.mkdir()
        published.nothing(file)
    names = [*map(str, files), str(tmp_path / "run"), "mean", "mean"]
    offered = [(each.name, each.source) for each in offer_engines(names)]
    assert offered == list(zip(["x", "x (2)", "run", "run (2)", "mean"], names, strict=False))


def test_the_server_reports_a_doubtful_network_each_time(tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="the server needs it")
    from infilling.filling.workers import Progress
    from infilling.serving.engines import offer_engines, open_offered

    [offer] = offer_engines([str(published.constant_lama(tmp_path / "x.onnx", 64.0, 255.0))])
    for _ in range(2):
        [text] = open_offered(Progress(), offer, 1)
        assert text.startswith("x does not give a plain picture back: it is taken for lama;")


# -- surfaces ------------------------------------------------------------------------------------------------


def test_folders_are_filled_by_a_network_of_others(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("RGB", (120, 90), (200, 90, 40)).save(tmp_path / "in" / "a.png")
    path = published.migan(tmp_path / "d2.onnx")
    options = FillOptions(boxes=((20, 20, 30, 30),))
    summary = batch(tmp_path / "in", tmp_path / "out", engine=path, adapter="migan", options=options)
    assert summary.counts == {"filled": 1}
    assert np.asarray(Image.open(tmp_path / "out" / "a.png"))[30, 30].tolist() == [200, 90, 40]
    [line] = map(json.loads, (tmp_path / "out" / "results.jsonl").read_text().splitlines())
    assert line["digest"] == open_engine(path).digest  # type: ignore[attr-defined]


def test_another_adapter_or_other_weights_fill_a_folder_again(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(150, 250, (90, 120, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "in" / "a.png")
    options = FillOptions(boxes=((20, 20, 30, 30),), detail=False)

    def run(file: Path, adapter: str) -> tuple[dict[str, int], float]:
        folder = tmp_path / f"out-{file.stem}"
        counts = batch(tmp_path / "in", folder, engine=file, adapter=adapter, options=options).counts
        return counts, np.asarray(Image.open(folder / "a.png"))[30:40, 30:40].mean()

    path = published.constant_lama(tmp_path / "x.onnx", 0.25, 1.0)
    assert run(path, "lama") == ({"filled": 1}, pytest.approx(64, abs=2))
    assert run(path, "lama") == ({"skipped": 1}, pytest.approx(64, abs=2))
    assert run(path, "aot") == ({"filled": 1}, pytest.approx(159, abs=2))
    path = save_apart(tmp_path / "apart.onnx")
    assert run(path, "lama") == ({"filled": 1}, pytest.approx(200, abs=4))
    np.full(512, 127.5, np.float32).tofile(tmp_path / "weights.bin")
    assert run(path, "lama") == ({"filled": 1}, pytest.approx(100, abs=4))


def test_a_torch_network_of_ones_own_becomes_an_engine(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the script needs it")
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "class Filler(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.colour = torch.nn.Parameter(torch.zeros(1, 3, 1, 1))\n"
        "    def forward(self, image, mask):\n"
        "        return image * (1 - mask) + self.colour * mask\n"
    )
    torch.save({"colour": torch.tensor([0.2, 0.4, 0.6]).reshape(1, 3, 1, 1)}, tmp_path / "mine.pt")
    script = Path(__file__).resolve().parents[2] / "examples" / "torch_to_onnx.py"
    words = [f"{tmp_path}/mine.py:Filler", tmp_path / "mine.onnx", "--weights", tmp_path / "mine.pt"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, *words, "--multiple-of", "8"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    image, mask = np.full((50, 70, 3), 200, np.uint8), off_centre(50, 70)
    filled = fill(image, mask, tmp_path / "mine.onnx", detail=False)
    assert (filled[mask] == [51, 102, 153]).all()


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_ray_fills_with_a_network_of_others(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra ray is not installed")
    (tmp_path / "in").mkdir()
    Image.new("RGB", (120, 90), (200, 90, 40)).save(tmp_path / "in" / "a.png")
    path = published.migan_pipeline(tmp_path / "d1.onnx")
    options = FillOptions(boxes=((20, 20, 30, 30),))
    for name, address in (("alone", None), ("ray", "local")):
        summary = batch(
            tmp_path / "in",
            tmp_path / name,
            engine=path,
            adapter="migan-pipeline",
            options=options,
            ray=address,
        )
        assert summary.counts == {"filled": 1}
    assert (tmp_path / "ray" / "a.png").read_bytes() == (tmp_path / "alone" / "a.png").read_bytes()


def test_every_family_is_on_the_page() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "foreign.md").read_text(encoding="utf-8")
    for name in FAMILIES:
        assert f"`{name}`" in page


@pytest.mark.parametrize(
    ("make", "family", "mask", "values", "known"),
    [
        (published.lama_packed, "lama-packed", "1 in the hole, 0", "0 to 1", "drawn again"),
        (published.migan_pipeline, "migan-pipeline", "0 in the hole, 255", "0 to 255", "as they were"),
        (published.migan, "migan", "-0.5 in the hole, 0.5", "-1 to 1", "drawn again"),
    ],
)
def test_info_describes_a_network_of_others(
    infill: Any, tmp_path: Path, make: Any, family: str, mask: str, values: str, known: str
) -> None:
    path = make(tmp_path / "net.onnx")
    about = json.loads(infill("info", path, "--json").out)
    assert about["family"].startswith(f"{family} (")
    assert about["mask"].startswith(mask)
    assert about["range"] == values
    assert about["known pixels"].startswith(known)
    assert about["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
