"""Checkpoints: whole or not there, readable without pickles, refused when they are another system's."""

import json
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors
import torch

from infilling.errors import ModelError, StorageError
from infilling.learning import checkpoint, config
from infilling.learning.device import choose_place
from infilling.learning.learner import Learner
from infilling.learning.settings import Config
from infilling.learning.train import Progress, train

MakeConfig = Callable[..., Config]


@pytest.fixture
def learner(make_config: MakeConfig) -> Learner:
    settings = make_config("system.width=16")
    torch.manual_seed(0)
    return Learner(settings, choose_place(settings.train))


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """What a full disk does: a write past the limit fails, and what came before it is there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_weights_carry_their_config_and_need_nothing_of_this_package_to_be_read(
    learner: Learner, make_config: MakeConfig, tmp_path: Path
) -> None:
    learner.step, learner.images_seen = 7, 28
    folder = learner.save(tmp_path, {"note": [1, 2]})
    assert folder == tmp_path / "checkpoint" / "step-00000007"
    with safetensors.safe_open(folder / "weights.safetensors", framework="numpy") as opened:
        metadata = opened.metadata()
        names = set(opened.keys())
    assert (metadata["step"], metadata["images_seen"]) == ("7", "28")
    assert config.parse_config(json.loads(metadata["config"])) == make_config("system.width=16")
    assert {name.split(".")[0] for name in names} == {"generator", "discriminator", "ema"}
    trainer = torch.load(folder / "trainer.pt", weights_only=True)
    assert trainer["extra"] == {"note": [1, 2]}


def test_what_a_kill_left_of_older_checkpoints_is_removed(learner: Learner, tmp_path: Path) -> None:
    """Killed after the new one has its name: saved again there, as a run does that is resumed."""
    for step in range(6):
        learner.step = step
        folder = learner.save(tmp_path, {})
    for left_over in ("step-00000001", ".step-00000002.1.unfinished"):
        shutil.copytree(folder, folder.with_name(left_over))
    assert learner.save(tmp_path, {}) == folder
    assert sorted(path.name for path in folder.parent.iterdir()) == ["step-00000004", "step-00000005"]


@pytest.mark.parametrize("where", ["run", "checkpoint", "file"])
def test_weights_are_found_from_a_run_a_checkpoint_or_a_file(
    learner: Learner, tmp_path: Path, where: str
) -> None:
    learner.step = 1
    learner.save(tmp_path, {})
    learner.step = 2
    folder = learner.save(tmp_path, {})
    path = {"run": tmp_path, "checkpoint": folder, "file": folder / "weights.safetensors"}[where]
    assert checkpoint.read_weights(path).step == 2


def test_what_is_loaded_for_filling_is_the_average(learner: Learner, tmp_path: Path) -> None:
    with torch.no_grad():
        for parameter in learner.ema.generator.parameters():
            parameter.fill_(0.25)
    learner.save(tmp_path, {})
    system, weights = checkpoint.load_system(tmp_path)
    assert not system.training
    assert all((parameter == 0.25).all() for parameter in system.generator.parameters())
    assert not any(parameter.requires_grad for parameter in system.parameters())
    assert weights.config.system == learner.system.settings


def test_a_full_disk_leaves_the_last_good_checkpoint(learner: Learner, tmp_path: Path) -> None:
    learner.step = 1
    good = learner.save(tmp_path, {})
    before = {path.name: path.read_bytes() for path in good.iterdir()}
    learner.step = 2
    limit = max(map(len, before.values())) // 2
    with (
        no_file_larger_than(limit),
        pytest.raises(
            StorageError, match=r"cannot save .*step-00000002: File too large; .* is .*step-00000001$"
        ),
    ):
        learner.save(tmp_path, {})
    assert {path.name: path.read_bytes() for path in good.iterdir()} == before
    assert [path.name for path in (tmp_path / "checkpoint").iterdir()] == ["step-00000001"]
    learner.save(tmp_path, {})
    assert checkpoint.read_weights(tmp_path).step == 2


def test_a_disk_that_fills_up_in_a_run_ends_it_resumably(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = make_config("train.checkpoint_every=2", "train.steps=4", "train.sample_every=100")
    limits: list[object] = []

    def fill_the_disk(progress: Progress) -> None:
        if progress.step == 3:
            context = no_file_larger_than(4000)
            context.__enter__()
            limits.append(context)

    try:
        with pytest.raises(
            StorageError, match=r"step-00000004: .*; the last good checkpoint is .*step-00000002$"
        ):
            train(settings, tmp_path, report=fill_the_disk)
    finally:
        for context in limits:
            context.__exit__(None, None, None)  # type: ignore[attr-defined]
    assert train(settings, tmp_path).step == 4


def test_a_folder_that_cannot_be_written_is_one_line(learner: Learner, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("a file where the folder should be")
    with pytest.raises(StorageError, match=r"cannot save .*; there is no checkpoint yet"):
        learner.save(tmp_path, {})


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "no metadata"])
def test_damaged_weights_are_one_line(learner: Learner, tmp_path: Path, damage: str) -> None:
    folder = learner.save(tmp_path, {})
    file = folder / "weights.safetensors"
    whole = file.read_bytes()
    if damage == "no metadata":
        from safetensors.torch import save_file

        save_file({"generator.0.weight": torch.zeros(1)}, file)
    else:
        file.write_bytes({"cut": whole[:-100], "empty": b"", "noise": bytes(range(256)) * 40}[damage])
    with pytest.raises(ModelError, match=f"cannot read the weights in .*{file.name}") as caught:
        checkpoint.load_system(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_damaged_trainer_is_one_line_and_says_how_to_go_on(make_config: MakeConfig, tmp_path: Path) -> None:
    settings = make_config("train.checkpoint_every=1", "train.steps=2")
    train(settings, tmp_path)
    newest = tmp_path / "checkpoint" / "step-00000002"
    whole = (newest / "trainer.pt").read_bytes()
    for damaged in (b"", whole[:-500], b"noise" * 1000, whole[:600] + b"\xff" * 600 + whole[1200:]):
        (newest / "trainer.pt").write_bytes(damaged)
        with pytest.raises(
            ModelError, match=r"remove .*step-00000002 to resume from the one before"
        ) as caught:
            train(settings, tmp_path)
        assert "\n" not in str(caught.value)


def test_a_pickle_that_runs_code_is_not_run(learner: Learner, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)

    folder = learner.save(tmp_path, {})
    torch.save({"step": Evil()}, folder / "trainer.pt")
    with pytest.raises(ModelError, match=r"cannot read .*trainer\.pt"):
        checkpoint.load_trainer(folder)
    assert not (tmp_path / "ran").exists()


def test_another_networks_weights_are_refused_by_name(
    learner: Learner, make_config: MakeConfig, tmp_path: Path
) -> None:
    learner.save(tmp_path, {})
    weights = checkpoint.read_weights(tmp_path)
    narrow = make_config("system.width=8")
    other = Learner(narrow, choose_place(narrow.train)).system.generator
    with pytest.raises(ModelError, match=r"0\.\w+' has shape \(16,.*\), not \(8,"):
        checkpoint.load_network(other, weights.take("ema"), "weights")
    with pytest.raises(ModelError, match=r"unknown to the network|not in the file"):
        checkpoint.load_network(torch.nn.Linear(2, 2), weights.take("generator"), "weights")


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no checkpoint in "):
        checkpoint.load_system(tmp_path)
    with pytest.raises(ModelError, match="there is no checkpoint in "):
        checkpoint.load_system(tmp_path / "missing")
