"""Damaged and hostile files: one line for each, soon, without much memory; and nothing of theirs is run."""

import signal
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from tests.faults.conftest import MakeConfig, Start, Told
from tests.faults.processes import READERS, read_mutated

from infilling.errors import ModelError
from infilling.filling.network import METADATA_KEY, NetworkEngine
from infilling.learning import checkpoint, export
from infilling.learning import config as configs
from infilling.learning.train import train

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1800)]

COUNT = 1000


@pytest.fixture(scope="module")
def good(
    make_config: MakeConfig, pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A sound file of every kind."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("good")
    config = make_config("train.steps=2")
    out = train(config, folder / "run").run
    latest = checkpoint.find_latest_checkpoint(out)
    assert latest is not None
    (folder / "config.toml").write_text(configs.config_to_toml(config))
    with Image.open(pictures / "00.png") as image:
        image.resize((40, 30)).save(folder / "picture.png")
    mask = Image.new("L", (40, 30))
    mask.paste(255, (4, 4, 12, 12))
    mask.save(folder / "mask.png")
    return {
        "picture": folder / "picture.png",
        "mask": folder / "mask.png",
        "config": folder / "config.toml",
        "weights": latest / "weights.safetensors",
        "trainer": latest / "trainer.pt",
        "network to fill with": out / "model.onnx",
        "network to learn from": out / "model.onnx",
    }


@pytest.mark.parametrize("kind", READERS)
def test_a_thousand_mutated_files(start: Start, good: dict[str, Path], tmp_path: Path, kind: str) -> None:
    """Each is read or refused in one line; none leaves a trace, takes ten seconds or two gigabytes."""
    bad, told = tmp_path / good[kind].name, tmp_path / "told.tsv"
    process = start(read_mutated, kind, good[kind], range(COUNT), bad, told)
    process.join()
    lines = [line.split("\t", 2) for line in told.read_text().splitlines()]
    last = f"at seed {lines[-1][0]}"
    assert process.exitcode != -signal.SIGALRM, f"it hangs {last}"
    assert process.exitcode == 0, f"it ended with {process.exitcode} {last}"
    assert [int(line[0]) for line in lines] == list(range(COUNT))
    wrong = [line for line in lines if line[1] not in ("read", "refused")]
    assert not wrong, f"{len(wrong)}, such as {wrong[:3]}"
    counts = Counter(line[1] for line in lines)
    print(f"{kind}: {dict(counts)}")
    assert counts["refused"] > COUNT / 10


# -- code and outside files ----------------------------------------------------------------------------------


class Evil:
    """What makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["trainer.pt", "weights.safetensors"])
def test_a_checkpoint_that_asks_for_code_is_refused(
    make_config: MakeConfig, run: Any, tmp_path: Path, name: str
) -> None:
    out, mark = tmp_path / "run", tmp_path / "ran"
    config = make_config("train.steps=2")
    train(config, out)
    (tmp_path / "config.toml").write_text(configs.config_to_toml(config))
    asking = out / "checkpoint" / "step-00000002" / name
    torch.save({"step": Evil(mark)}, asking)
    told: Told = run("train", tmp_path / "config.toml", "--out", out, "--set", "train.steps=4")
    assert told.code == 4
    assert f"{name}: " in told.err
    assert not mark.exists()
    torch.load(BytesIO(asking.read_bytes()), weights_only=False)
    assert mark.exists(), "it would have run"


def test_a_network_that_asks_for_outside_files_is_refused(
    good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = onnx.load(good["network to fill with"])
    path = tmp_path / "outside.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    assert Path("weights").is_file()
    for read in (NetworkEngine, export.read_generator):
        with pytest.raises(ModelError, match="it keeps its weights in a second file"):
            read("outside.onnx")


def make_network(card: str, weight: onnx.TensorProto, place: str) -> bytes:
    """A network that adds a weight (1, 3, 1, 1) to the image, kept as an initializer or elsewhere."""
    helper, real = onnx.helper, onnx.TensorProto.FLOAT
    inputs = [
        helper.make_tensor_value_info(name, real, ["n", channels, "h", "w"])
        for name, channels in (("image", 3), ("mask", 1))
    ]
    output = helper.make_tensor_value_info("filled", real, ["n", 3, "h", "w"])
    kept, nodes = [weight], [helper.make_node("Add", ["image", "weight"], ["filled"])]
    if place == "constant":
        kept, nodes = [], [helper.make_node("Constant", [], ["weight"], value=weight), *nodes]
    elif place == "branch":
        inside = helper.make_tensor_value_info("inside", real, None)
        branches = {
            name: helper.make_graph([helper.make_node(kind, given, ["inside"])], name, [], [inside], weights)
            for name, kind, given, weights in [
                ("then_branch", "Add", ["image", "weight"], [weight]),
                ("else_branch", "Identity", ["image"], []),
            ]
        }
        kept = [onnx.numpy_helper.from_array(np.array(True), "always")]
        nodes = [helper.make_node("If", ["always"], ["filled"], **branches)]
    graph = helper.make_graph(nodes, "graph", inputs, [output], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {METADATA_KEY: card})
    return model.SerializeToString()


@pytest.mark.parametrize("place", ["initializer", "constant", "branch"])
def test_a_network_gets_no_bytes_from_elsewhere(
    good: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Neither from a file, however it is named, nor from the memory of this process."""
    monkeypatch.chdir(tmp_path)
    secret = np.full((1, 3, 1, 1), 0.5, np.float32)
    Path("weights").write_bytes(secret.tobytes())
    metadata = onnx.load(good["network to fill with"]).metadata_props
    card = next(entry.value for entry in metadata if entry.key == METADATA_KEY)
    image, mask = np.zeros((1, 3, 32, 32), np.float32), np.zeros((1, 1, 32, 32), np.float32)
    path = tmp_path / "network.onnx"
    path.write_bytes(make_network(card, onnx.numpy_helper.from_array(secret, "weight"), place))
    assert (NetworkEngine(path, threads=1).fill(image, mask) == 0.5).all()
    for location, offset in [
        ("weights", 0),
        (str(tmp_path / "weights"), 0),
        (f"../{tmp_path.name}/weights", 0),
        ("*/_ORT_MEM_ADDR_/*", secret.ctypes.data),  # ONNX Runtime's own name for bytes that are loaded
    ]:
        weight = onnx.TensorProto(name="weight", data_type=onnx.TensorProto.FLOAT, dims=secret.shape)
        weight.data_location = onnx.TensorProto.EXTERNAL
        told = {"location": location, "offset": str(offset), "length": str(secret.nbytes)}
        for key, value in told.items():
            weight.external_data.add(key=key, value=value)
        path.write_bytes(make_network(card, weight, place))
        with pytest.raises(ModelError, match=r"cannot open the model .*network\.onnx: "):
            NetworkEngine(path, threads=1)


def test_a_network_that_asks_for_code_is_refused(good: dict[str, Path], tmp_path: Path) -> None:
    model = onnx.load(good["network to fill with"])
    model.graph.node[0].op_type, model.graph.node[0].domain = "PyOp", "ai.onnx.contrib"
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.contrib", 1))
    (tmp_path / "code.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="operators that ONNX Runtime does not have"):
        NetworkEngine(tmp_path / "code.onnx")
