"""A run's configuration: read, overridden, refused, written back."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infilling.errors import ConfigError
from infilling.learning import config
from infilling.learning.systems.reference import Settings

TREE = {"system": {"name": "reference"}, "train": {"steps": 3}}
CONFIGS = config.list_configs()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_reads_a_file_and_lays_overrides_over_it(tmp_path: Path) -> None:
    path = write(tmp_path, '[system]\nname = "reference"\nwidth = 8\n[train]\nsteps = 3\nbatch = 16\n')
    overrides = [
        "train.batch=4",
        "train.channels_last=false",
        "train.generator.lr=1e-3",
        "data.paths=['a', 'b']",
        "data.cache=some/folder",
        "holes.kind=0.4 block + 0.6 freeform",
        "system.ring=4",
    ]
    read = config.read_config(path, overrides)
    assert isinstance(read.system, Settings)
    assert (read.system.width, read.system.ring) == (8, 4)
    assert (read.train.batch, read.train.steps, read.train.channels_last) == (4, 3, False)
    assert (read.train.generator.lr, read.train.discriminator.lr) == (1e-3, 2e-4)
    assert (read.data.paths, read.data.cache) == (("a", "b"), "some/folder")
    assert read.holes.kind == "0.4 block + 0.6 freeform"


def test_defaults_are_the_reports() -> None:
    read = config.parse_config(TREE)
    train = read.train
    assert (train.seed, train.batch, train.log_every, train.sample_every) == (999, 256, 50, 50)
    for optimizer in (train.generator, train.discriminator):
        assert (optimizer.kind, optimizer.lr, optimizer.beta1, optimizer.beta2) == ("adam", 2e-4, 0.5, 0.999)
    assert (read.data.image_size, read.holes.kind) == (128, "block")
    assert isinstance(read.system, Settings)
    assert (read.system.adversarial_weight, read.system.reconstruction_weight) == (0.01, 0.99)
    assert (read.system.width, read.system.ring, read.system.ring_weight) == (64, 7, 10.0)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.bach=8", r"unknown key train\.bach; did you mean batch"),
        ("trian.batch=8", r"unknown key trian; did you mean train"),
        ("train.generator.learning=1", r"unknown key train\.generator\.learning; choose from kind, lr"),
        ("system.widht=8", r"unknown key system\.widht; did you mean width"),
        ("system.name=referense", "no system is called 'referense'; did you mean reference"),
        ("train.batch=0", r"train\.batch: .*greater than or equal to 1, not 0"),
        ("train.batch=many", r"train\.batch: .*integer.*, not 'many'"),
        ("system.width=-1", r"system\.width: .*, not -1"),
        ("train.precision=fp16", r"train\.precision: .*'bf16'.*, not 'fp16'"),
        ("train.generator.schedule=cosine", r"train\.generator: a cosine schedule needs decay_images"),
        (
            'train.generator={schedule="cosine", decay_images=9, restart_images=9}',
            r"train\.generator: restart_images must be between",
        ),
        ("train.batch.size=3", "batch is a value, not a table"),
        ("train.batch", "write table.key=value"),
        ("=3", "write table.key=value"),
    ],
)
def test_refuses_with_one_line_that_names_the_key(override: str, message: str) -> None:
    tree = {**TREE, "train": {"steps": 3, "batch": 4}}
    with pytest.raises(ConfigError, match=message) as caught:
        config.parse_config(tree, [override], source="run.toml")
    assert "\n" not in str(caught.value)


def test_a_run_needs_a_limit_and_a_system() -> None:
    with pytest.raises(ConfigError, match="nothing ends this run: set epochs, images, steps or max_minutes"):
        config.parse_config({"system": {"name": "reference"}, "train": {}})
    with pytest.raises(ConfigError, match="train is missing"):
        config.parse_config({"system": {"name": "reference"}})
    with pytest.raises(ConfigError, match=r"\[system\] needs a name, one of .*reference"):
        config.parse_config({"train": {"steps": 1}})


def test_an_unreadable_file_is_one_line_with_the_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml: .*line 2") as caught:
        config.read_config(write(tmp_path, "[train]\nsteps = = 3\n"))
    assert "\n" not in str(caught.value)
    with pytest.raises(ConfigError, match="no such file"):
        config.read_config(tmp_path / "missing.toml")
    with pytest.raises(ConfigError, match="is a folder"):
        config.read_config(tmp_path)
    (tmp_path / "run.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a UTF-8 text file"):
        config.read_config(tmp_path / "run.toml")


def test_nothing_can_be_changed_afterwards() -> None:
    read = config.parse_config(TREE)
    with pytest.raises(ValueError, match="frozen"):
        read.train.batch = 3  # type: ignore[misc]


text = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(deadline=None)  # a busy machine may take long for one file
@given(
    paths=st.lists(text, max_size=3),
    trained_on=text,
    lr=st.floats(min_value=1e-300, max_value=10.0),
    flip=st.booleans(),
    steps=st.integers(1, 10**12),
    max_minutes=st.none() | st.floats(min_value=1e-3, max_value=1e7),
)
def test_what_is_written_is_read_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    paths: list[str],
    trained_on: str,
    lr: float,
    flip: bool,
    steps: int,
    max_minutes: float | None,
) -> None:
    tree = {
        "system": {"name": "reference", "width": 8},
        "data": {"paths": paths, "trained_on": trained_on, "flip": flip},
        "train": {"steps": steps, "max_minutes": max_minutes, "generator": {"lr": lr}},
    }
    first = config.parse_config(tree)
    path = tmp_path_factory.getbasetemp() / "written.toml"
    path.write_text(config.config_to_toml(first), encoding="utf-8", newline="")
    assert config.read_config(path) == first


@pytest.mark.parametrize("path", CONFIGS)
def test_every_config_of_the_project_can_be_read(path: Path) -> None:
    assert config.read_config(path).system.name


def test_a_recipe_for_a_tenth_of_the_pictures_keeps_the_shares_of_its_stages() -> None:
    whole = config.read_config("default", ["train.images=200000", "data.half_size_images=130000"])
    tenth = config.rescale_config(whole, 20_000)
    assert tenth.train.images == 20_000
    assert tenth.data.half_size_images == 13_000
    before, after = whole.system.model_dump(), tenth.system.model_dump()
    for name in ("adversary_start_images", "adversary_ramp_images"):
        assert after[name] == before[name] / 10
    rates = whole.train.generator
    assert tenth.train.generator.warmup_images == rates.warmup_images / 10
    assert (rates.decay_images, tenth.train.generator.decay_images) == (200_000, 20_000)
    assert tenth.train.batch == whole.train.batch
    assert config.rescale_config(tenth, 200_000) == whole


def test_a_recipe_without_a_number_of_pictures_cannot_be_scaled() -> None:
    with pytest.raises(ConfigError, match=r"train\.images"):
        config.rescale_config(config.read_config("reference"), 1_000)
