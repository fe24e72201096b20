"""Fixtures of the learning room: drawn pictures, and the smallest system that uses all of the contract."""

import functools
import http.server
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from tests.helpers import draw_pictures
from torch import Tensor, nn

from infilling.learning import config as configs
from infilling.learning import losses
from infilling.learning.masked_batch import MaskedBatch
from infilling.learning.settings import Config
from infilling.learning.shard_writer import pack_pictures
from infilling.learning.system import Losses, Phase, System, SystemSettings
from infilling.learning.systems import SYSTEMS
from infilling.pictures.frame import SizeRule


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small networks gain nothing from a second thread, and lose much where the machine is busy."""
    torch.set_num_threads(1)


class TinySettings(SystemSettings):
    """Settings of `Tiny`."""

    name: Literal["tiny"] = "tiny"
    width: int = 4
    frozen_size: bool = False
    r1_interval: int = 2


class Tiny(System):
    """A few layers with dropout and batch norm, of any size, with a lazy R1 phase of its own."""

    name = "tiny"
    size_rule = SizeRule(multiple_of=4)

    def __init__(self, settings: TinySettings) -> None:
        super().__init__(settings)
        self.settings: TinySettings = settings
        self.generator: nn.Module = nn.Sequential(
            nn.Conv2d(4, settings.width, 3, padding=1),
            nn.BatchNorm2d(settings.width),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Conv2d(settings.width, 3, 3, padding=1),
            nn.Sigmoid(),
        )
        self.discriminator: nn.Module = nn.Sequential(
            nn.Conv2d(3, 4, 4, stride=4), nn.SiLU(), nn.Conv2d(4, 1, 1)
        )

    def generate(self, batch: MaskedBatch) -> Tensor:
        return self._run(batch.image, batch.mask)

    def discriminator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        real, fake = self.discriminator(batch.image), self.discriminator(generated.detach())
        return losses.hinge_discriminator(real, fake), {"D(x)": real.mean()}

    def generator_loss(self, batch: MaskedBatch, generated: Tensor) -> Losses:
        reconstruction = losses.l1(generated, batch.image, batch.mask)
        return reconstruction + 0.01 * losses.hinge_generator(self.discriminator(generated)), {
            "reconstruction": reconstruction
        }

    def r1(self, batch: MaskedBatch, _generated: Tensor) -> Losses:
        """The lazy phase."""
        image = batch.image.detach().requires_grad_()
        score = self.discriminator(image).float().sum()
        (gradient,) = torch.autograd.grad(score, image, create_graph=True)
        return gradient.float().square().sum(dim=(1, 2, 3)).mean(), {}

    def phases(self) -> tuple[Phase, ...]:
        return *super().phases(), Phase("r1", "discriminator", self.r1, self.settings.r1_interval)

    def fill(self, image: Tensor, mask: Tensor) -> Tensor:
        filled = self._run(image, mask)
        if self.settings.frozen_size:  # what a tracer freezes: a Python number read off a shape
            filled = filled * float(image.shape[2] / 96)
        return filled

    def _run(self, image: Tensor, mask: Tensor) -> Tensor:
        filled: Tensor = self.generator(torch.cat([image * (1 - mask), mask], dim=1))
        return filled


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts `Tiny` into the table of systems."""
    module = ModuleType("tiny_system")
    module.Settings, module.Tiny = TinySettings, Tiny  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tiny_system", module)
    monkeypatch.setitem(SYSTEMS, "tiny", "tiny_system:Tiny")


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twenty pictures of smooth colours, 40×36 px."""
    return draw_pictures(tmp_path_factory.mktemp("drawn"), 20, (40, 36))


MakeConfig = Callable[..., Config]


@pytest.fixture
def make_config(drawn: Path, tiny: None, tmp_path_factory: pytest.TempPathFactory) -> MakeConfig:
    """Makes a config of a short run of `tiny` on the drawn pictures; `--set` overrides are its arguments."""

    def make(*overrides: str, name: str = "tiny") -> Config:
        tree: dict[str, Any] = {
            "system": {"name": name},
            "data": {
                "paths": [str(drawn)],
                "cache": str(tmp_path_factory.getbasetemp() / "cache"),
                "image_size": 32,
                "validation_share": 0.2,
            },
            "train": {
                "batch": 4,
                "steps": 4,
                "log_every": 1,
                "sample_every": 2,
                "samples": 2,
                "device": "cpu",
            },
        }
        return configs.parse_config(tree, overrides)

    return make


Draw = Callable[..., bytes]
Tree = Callable[[Path, Mapping[str, bytes]], Path]


@pytest.fixture(scope="session")
def draw() -> Draw:
    """`draw(seed, height=40, width=40, format="PNG")`: the bytes of a picture of waves."""

    def draw_picture(seed: int, height: int = 40, width: int = 40, format: str = "PNG") -> bytes:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width, :1][:2]
        phase = y * rng.uniform(0.02, 0.2, 3) + x * rng.uniform(0.02, 0.2, 3) + rng.uniform(0, 6, 3)
        buffer = BytesIO()
        Image.fromarray((127.5 + 120 * np.sin(phase)).astype(np.uint8)).save(buffer, format, quality=90)
        return buffer.getvalue()

    return draw_picture


@pytest.fixture(scope="session")
def tree() -> Tree:
    """`tree(folder, {"abbey/1.png": bytes})`: writes files, with their folders."""

    def write(folder: Path, files: Mapping[str, bytes]) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder

    return write


class Server(http.server.ThreadingHTTPServer):
    """A web server of a folder. `faults` says of a path what happens to its next requests, one by one.

    "500": an error; "cut": half of the bytes and the end of the connection; "short": half, as if it were all.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.folder, self.faults, self.asked = folder, {}, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        faults = self.server.faults.get(self.path, [])
        fault = faults.pop(0) if faults else ""
        if fault == "500":
            self.send_error(500)
        elif fault:
            data = (self.server.folder / self.path[1:]).read_bytes()
            half = data[: len(data) // 2]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) if fault == "cut" else len(half)))
            self.end_headers()
            self.wfile.write(half)
            self.close_connection = True
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


Serve = Callable[[Path], Server]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(folder)` starts a web server of a folder; it ends with the test."""
    with ExitStack() as stack:

        def start(folder: Path) -> Server:
            server = stack.enter_context(Server(folder))
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return server

        yield start


@pytest.fixture(scope="session")
def sharded(drawn: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn pictures in four shards."""
    out = tmp_path_factory.mktemp("sharded") / "set"
    pack_pictures(drawn, out, per_shard=5)
    return out
