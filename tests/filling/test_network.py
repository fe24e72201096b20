"""Networks from ONNX files: tiny graphs made here, good ones and every kind of bad one."""

import json
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from infilling.errors import DependencyError, InputError, ModelError
from infilling.filling.contract import parse_device
from infilling.filling.engine import open_engine
from infilling.filling.fill import fill
from infilling.filling.network import METADATA_KEY, ModelCard, NetworkEngine
from infilling.pictures.frame import SizeRule
from infilling.pictures.picture import Floats

CARD = ModelCard("test", SizeRule(), "nothing", "CC0-1.0", "0.1")
FREE = ("n", "h", "w")


def make_model(
    card: ModelCard | str | None = CARD,
    *,
    size: Sequence[int | str] = FREE,
    domain: str = "",
    names: tuple[str, str, str] = ("image", "mask", "filled"),
    mask_channels: int = 1,
    kind: int = TensorProto.FLOAT,
    offset: float = 0.25,
) -> onnx.ModelProto:
    """filled = image + offset · mask: in the hole, where the engine blanks the image, the offset."""
    image, mask, filled = names
    nodes = [
        helper.make_node("Mul", [mask, "offset"], ["shift"]),
        helper.make_node("Add", [image, "shift"], [filled], domain=domain),
    ]
    n, h, w = size
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info(image, kind, [n, 3, h, w]),
            helper.make_tensor_value_info(mask, kind, [n, mask_channels, h, w]),
        ],
        [helper.make_tensor_value_info(filled, kind, [n, 3, h, w])],
        [
            numpy_helper.from_array(
                np.full((1, 3, 1, 1), offset, helper.tensor_dtype_to_np_dtype(kind)), "offset"
            )
        ],
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid(domain, 1)] if domain else [])]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if card is not None:
        helper.set_model_props(model, {METADATA_KEY: card if isinstance(card, str) else card.to_json()})
    return model


def save(model: onnx.ModelProto, path: Path) -> Path:
    onnx.save(model, path)
    return path


def make_batch(count: int, height: int, width: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(count)
    image = rng.random((count, 3, height, width), dtype=np.float32)
    return image, (rng.random((count, 1, height, width)) < 0.3).astype(np.float32)


def with_rule(**rule: Any) -> str:
    return json.dumps({**json.loads(CARD.to_json()), "size_rule": rule})


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 7, 5), (2, 1, 40)])
def test_fills_any_batch_and_size(shape: tuple[int, int, int], tmp_path: Path) -> None:
    engine = open_engine(save(make_model(), tmp_path / "tiny.onnx"))
    image, mask = make_batch(*shape)
    before = image.copy()
    filled = engine.fill(image, mask)
    np.testing.assert_array_equal(filled, np.where(mask > 0, np.float32(0.25), image))
    np.testing.assert_array_equal(image, before)
    assert engine.name == "tiny"
    assert engine.size_rule == SizeRule()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_fills_pictures_by_the_path_of_its_file(dtype: Any, tmp_path: Path) -> None:
    card = replace(CARD, size_rule=SizeRule(multiple_of=8))
    path = save(make_model(card, size=(1, "h", "w")), tmp_path / "tiny.onnx")
    top = np.iinfo(dtype).max
    image = np.random.default_rng(0).integers(0, top, (90, 131, 3), dtype, endpoint=True)
    mask = np.zeros((90, 131), bool)
    mask[30:60, 20:90] = mask[0, :5] = True
    result = fill(image, mask, path)
    np.testing.assert_array_equal(result[~mask], image[~mask])
    assert (result[mask] == round(0.25 * top)).all()


def test_what_the_hole_hides_never_reaches_the_network(tmp_path: Path) -> None:
    engine = open_engine(save(make_model(), tmp_path / "tiny.onnx"))
    image, mask = make_batch(2, 8, 8)
    hidden = np.where(mask > 0, np.float32(np.nan), image)
    np.testing.assert_array_equal(engine.fill(hidden, mask), engine.fill(image, mask))


def test_the_card_comes_back(tmp_path: Path) -> None:
    card = ModelCard(
        "réseau", SizeRule(multiple_of=8, working_size=512, holes="block"), "a, b", "CC-BY-4.0", "1.2"
    )
    engine = NetworkEngine(save(make_model(card), tmp_path / "tiny.onnx"), name="mine")
    assert engine.card == card
    assert engine.size_rule == card.size_rule
    assert engine.name == "mine"
    newer = json.dumps({**json.loads(card.to_json()), "colour": "green"})
    assert ModelCard.from_json(newer) == card
    assert ModelCard.from_json(replace(card, images_seen=7).to_json()).images_seen == 7
    with pytest.raises(ModelError, match="no whole number in images_seen"):
        ModelCard.from_json(json.dumps({**json.loads(card.to_json()), "images_seen": "many"}))
    taught = replace(card, taught_by=("squeezenet",))
    assert ModelCard.from_json(taught.to_json()) == taught
    with pytest.raises(ModelError, match="no list of names in taught_by"):
        ModelCard.from_json(json.dumps({**json.loads(card.to_json()), "taught_by": "squeezenet"}))


def test_a_run_folder_stands_for_its_model(tmp_path: Path) -> None:
    run = tmp_path / "reference-7"
    run.mkdir()
    with pytest.raises(ModelError, match=r"no model\.onnx in the folder"):
        open_engine(run)
    save(make_model(), run / "model.onnx")
    assert open_engine(str(run)).name == "reference-7"


@pytest.mark.parametrize("batch", [1, 2])
def test_a_fixed_batch_is_looped_over(batch: int, tmp_path: Path) -> None:
    engine = open_engine(save(make_model(size=(batch, "h", "w")), tmp_path / "tiny.onnx"))
    image, mask = make_batch(5, 6, 9)
    np.testing.assert_array_equal(engine.fill(image, mask), np.where(mask > 0, np.float32(0.25), image))


def test_a_fixed_size_takes_no_other(tmp_path: Path) -> None:
    card = ModelCard("test", SizeRule(fixed_size=16), "nothing", "CC0-1.0", "0.1")
    engine = open_engine(save(make_model(card, size=("n", 16, 16)), tmp_path / "tiny.onnx"))
    assert engine.fill(*make_batch(2, 16, 16)).shape == (2, 3, 16, 16)
    with pytest.raises(InputError, match="tiny takes 16×16 pixels only, not 8×16"):
        engine.fill(*make_batch(1, 16, 8))


@pytest.mark.parametrize("offset", [2.0, -2.0])
def test_what_comes_out_is_clipped(offset: float, tmp_path: Path) -> None:
    engine = open_engine(save(make_model(offset=offset), tmp_path / "tiny.onnx"))
    filled = engine.fill(*make_batch(2, 8, 8))
    assert filled.min() >= 0
    assert filled.max() <= 1


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    engine = open_engine(save(make_model(offset=np.inf), tmp_path / "tiny.onnx"))
    with pytest.raises(ModelError, match="tiny gave values that are no numbers"):
        engine.fill(*make_batch(1, 8, 8))


def test_a_failure_inside_the_network_is_one_line(tmp_path: Path) -> None:
    model = make_model()
    halve = helper.make_node("AveragePool", ["shift"], ["half"], kernel_shape=[2, 2], strides=[2, 2])
    double = helper.make_node("Resize", ["half", "", "scales"], ["again"])
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales"))
    model.graph.node[1].input[1] = "again"
    for node in (double, halve):
        model.graph.node.insert(1, node)
    engine = open_engine(save(model, tmp_path / "tiny.onnx"))
    assert engine.fill(*make_batch(1, 8, 8)).shape == (1, 3, 8, 8)
    with pytest.raises(ModelError, match="tiny failed on 5×7 pixels") as caught:
        engine.fill(*make_batch(1, 7, 5))
    assert "\n" not in str(caught.value)


def stamp(model: onnx.ModelProto, *, ir: int = 8, opset: int = 17) -> onnx.ModelProto:
    """Say that a model is of these versions of ONNX."""
    model.ir_version, model.opset_import[0].version = ir, opset
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (make_model("{"), "its metadata is not JSON"),
        (make_model("[" * 100_000), "its metadata is not JSON: .* too deep"),
        (make_model("[]"), "its metadata lacks system"),
        (
            make_model(json.dumps({"system": "x", "size_rule": {}})),
            "its metadata lacks trained_on, licence, version",
        ),
        (make_model(json.dumps({**json.loads(CARD.to_json()), "licence": 3})), "no text in licence"),
        (make_model(with_rule(multiple_of=0)), "out of range"),
        (make_model(with_rule(multiple_of=None)), "out of range"),
        (make_model(with_rule(fixed_size="64")), "out of range"),
        (make_model(with_rule(holes="round")), "out of range"),
        (make_model(with_rule(tile=64)), "not one that this version knows"),
        (make_model(names=("picture", "mask", "filled")), "it takes and gives picture, mask → filled"),
        (make_model(names=("image", "mask", "output")), "not image, mask → filled"),
        (make_model(mask_channels=3), "its mask has 3 channels, not 1"),
        (make_model(kind=TensorProto.FLOAT16), "float16"),
        (make_model(size=("n", 64, 64)), "fixed to .64, 64., but its size rule says None"),
        (
            stamp(make_model(), ir=99),
            "it is of a newer ONNX than ONNX Runtime has here: update",
        ),
        (stamp(make_model(), opset=99), "it is of a newer ONNX"),
        (make_model(domain="my.ops"), "operators that ONNX Runtime does not have .my.ops:Add"),
    ],
)
def test_a_model_of_another_making_says_what_is_wrong(
    model: onnx.ModelProto, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save(model, tmp_path / "tiny.onnx")
    with pytest.raises(ModelError, match=message) as caught:
        open_engine(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("content", [b"", b"not a network at all", b"\x89PNG\r\n\x1a\n"])
def test_a_file_that_is_no_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="damaged or not an ONNX file"):
        open_engine(path)


def test_every_truncation_is_a_model_error(tmp_path: Path) -> None:
    content = make_model().SerializeToString()
    path = tmp_path / "tiny.onnx"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError):
            open_engine(path)


def test_a_name_that_is_no_text_is_told_and_nothing_is_said_on_stdout(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(make_model().SerializeToString().replace(b"Mul", b"M\xffl"))
    with pytest.raises(ModelError, match="damaged or not an ONNX file"):
        open_engine(path)
    assert capfd.readouterr().out == ""


def test_weights_in_a_second_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "tiny.onnx"
    onnx.save(make_model(), path, save_as_external_data=True, location="weights", size_threshold=0)
    assert (tmp_path / "weights").is_file()
    monkeypatch.chdir(tmp_path)  # where ONNX Runtime would look if it were let
    with pytest.raises(ModelError, match="keeps its weights in a second file"):
        open_engine("tiny.onnx")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"gone\.onnx: no such file"):
        open_engine(tmp_path / "gone.onnx")


def test_an_unknown_name_lists_the_near_ones() -> None:
    with pytest.raises(ModelError, match=r"unknown engine 'tela'.*; did you mean telea"):
        open_engine("tela")
    with pytest.raises(ModelError, match=r"'xyz'.*; choose from default, fidelity, lama"):
        open_engine("xyz")


def test_devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(make_model(), tmp_path / "tiny.onnx")
    assert NetworkEngine(path, device="cpu").device == "cpu"
    assert [parse_device(text) for text in ("auto", "cpu", "cuda", "cuda:2")] == [
        ("auto", 0),
        ("cpu", 0),
        ("cuda", 0),
        ("cuda", 2),
    ]
    for wrong in ("gpu", "cuda:", "cuda:x", "cpu:0", ""):
        with pytest.raises(InputError, match="device must be auto, cpu, cuda"):
            open_engine(path, device=wrong)
    with pytest.raises(InputError, match="mean runs on the CPU only"):
        open_engine("mean", device="cuda")
    with pytest.raises(InputError, match="threads 0 cannot be used: give a whole number, 1 to 65,535"):
        open_engine("mean", threads=0)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert NetworkEngine(path, device="auto").device == "cpu"
    with pytest.raises(DependencyError, match="device cuda:1 needs ONNX Runtime with CUDA"):
        open_engine(path, device="cuda:1")


def test_the_session_is_opened_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, Any]] = []
    real = onnxruntime.InferenceSession

    def record(
        content: bytes, options: Any, providers: Any, enable_fallback: bool, disabled_optimizers: Any
    ) -> Any:
        assert enable_fallback == (len(providers) > 1)
        assert not disabled_optimizers  # of a file of anyone
        seen.append((options, providers))
        return real(content, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", record)
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    path = save(make_model(), tmp_path / "tiny.onnx")
    NetworkEngine(path, threads=3)
    NetworkEngine(path, device="cpu", spinning=True)
    with pytest.raises(DependencyError, match="ONNX Runtime could not start CUDA"):
        NetworkEngine(path, device="cuda:1")
    spinning = [options.get_session_config_entry("session.intra_op.allow_spinning") for options, _ in seen]
    assert spinning == ["0", "1", "0"]
    assert seen[0][0].intra_op_num_threads == 3
    assert seen[1][0].intra_op_num_threads >= 1
    cpu = ("CPUExecutionProvider", {})
    assert [providers for _, providers in seen] == [
        [("CUDAExecutionProvider", {"device_id": 0}), cpu],
        [cpu],
        [("CUDAExecutionProvider", {"device_id": 1}), cpu],
    ]


def test_one_engine_serves_many_threads(tmp_path: Path) -> None:
    engine = open_engine(save(make_model(), tmp_path / "tiny.onnx"), threads=1)
    wrong: list[int] = []

    def work(number: int) -> None:
        image, mask = make_batch(1, 8 + number, 40 - number)
        image[:] = number / 32
        for _ in range(10):
            if not np.array_equal(engine.fill(image, mask), np.where(mask > 0, np.float32(0.25), image)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
