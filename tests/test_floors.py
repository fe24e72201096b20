"""The house of the package: imports only go down, and heavy modules load only when they are needed."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import infilling

PACKAGE = Path(infilling.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FLOORS = [
    "version",
    "errors",
    "machine",
    "storage",
    "locations",
    "templates",
    "pictures",
    "filling",
    "masks",
    "learning",
    "judging",
    "serving",
    "cli",
]
HEAVY = {"torch", "onnxruntime", "onnx", "cv2", "skimage", "scipy", "matplotlib", "fastapi", "uvicorn"}
HEAVY |= {"pillow_heif", "safetensors", "tensorboard", "webdataset", "fsspec", "ray"}
EVERYONES = ("pictures", "filling", "cli")  # rooms that every command loads
ALLOWED = {
    "errors": set[str](),
    "machine": set[str](),
    "storage": set[str](),
    "locations": {"fsspec", "aiohttp"},
    "templates": {"jinja2"},
    "pictures": {"numpy", "PIL", "cv2", "pillow_heif"},
    "filling": {"numpy", "PIL", "onnxruntime", "cv2", "skimage", "ray"},
}


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield every imported module by its full name, and whether that happens at the top of the file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = ["infilling", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(tree):
        top = node in tree.body
        if isinstance(node, ast.Import):
            yield from ((alias.name, top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            yield module, top
            yield from ((f"{module}.{alias.name}", top) for alias in node.names)


def room(module: str) -> str | None:
    """Return the room of one of our modules: `infilling.pictures.mask` is in `pictures`."""
    parts = module.split(".")
    return parts[1] if parts[0] == "infilling" and len(parts) > 1 and parts[1] in FLOORS else None


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def test_imports_are_read_as_python_reads_them(tmp_path: Path) -> None:
    found = dict(imports(PACKAGE / "errors.py"))
    assert room("infilling.pictures.mask") == "pictures"
    assert room("numpy") is None
    assert not any(map(room, found)), "errors.py stands on the ground"
    entry = dict(imports(PACKAGE / "__main__.py"))
    assert any(room(module) == "cli" for module in entry), f"the walk found only {sorted(entry)}"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_imports_only_go_down(path: Path) -> None:
    if path.parent == PACKAGE and path.stem in ("__init__", "__main__"):
        return  # the doors: one names what is public, the other calls the command line
    own = room_of(path)
    assert own in FLOORS, f"{own} is in no room; give it a floor in FLOORS"
    floor = FLOORS.index(own)
    upwards = {module for module, _ in imports(path) if (to := room(module)) and FLOORS.index(to) > floor}
    assert not upwards


def module_name(path: Path) -> str:
    return ".".join(["infilling", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__")


def find_cycles(edges: dict[str, set[str]]) -> list[set[str]]:
    """Return the groups of nodes that can all be reached from one another."""
    reach: dict[str, set[str]] = {}
    for start in edges:
        seen, ahead = set[str](), [start]
        while ahead:
            for node in edges.get(ahead.pop(), set()) - seen:
                seen.add(node)
                ahead.append(node)
        reach[start] = seen
    groups = [{other for other in reach[node] if node in reach[other]} for node in edges]
    return [group for index, group in enumerate(groups) if group and group not in groups[:index]]


def test_cycles_are_found() -> None:
    assert find_cycles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert find_cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [{"b", "c"}, {"d"}]


def test_no_module_imports_itself_through_others() -> None:
    """Also not inside a function: such a pair of modules is one module in two files."""
    modules = {module_name(path): path for path in MODULES}
    edges: dict[str, set[str]] = {}
    for own, path in modules.items():
        found = [module for module, _ in imports(path)]
        # `from infilling.cli import console` imports the module, and its package only as every import does.
        packages = {module.rpartition(".")[0] for module in found if module in modules}
        edges[own] = {module for module in found if module in modules and module not in packages}
    assert find_cycles(edges) == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_learning_and_filling_meet_only_in_export(path: Path) -> None:
    if room_of(path) == "learning" and path.name != "export.py":
        assert not {module for module, _ in imports(path) if room(module) == "filling"}


@pytest.mark.parametrize("path", [path for path in MODULES if room_of(path) in ALLOWED], ids=name)
def test_the_lower_floors_use_only_what_they_may(path: Path) -> None:
    allowed = ALLOWED[room_of(path)] | set(sys.stdlib_module_names) | {"infilling"}
    assert {module.split(".")[0] for module, _ in imports(path)} <= allowed


@pytest.mark.parametrize(
    "path", [p for p in MODULES if room_of(p) in ("pictures", "filling", "cli")], ids=name
)
def test_heavy_modules_load_inside_functions(path: Path) -> None:
    at_the_top = {module.split(".")[0] for module, top in imports(path) if top}
    assert not at_the_top & HEAVY


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules that a fresh interpreter has loaded after running `code`."""
    tell = "import json; print(); print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}\n{tell}"], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_loads_nothing_heavy() -> None:
    code = "from infilling.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert not loaded_after(code) & (HEAVY | {"numpy", "PIL", "pydantic", "rich"})


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not loaded_after("import infilling") & (HEAVY | {"numpy", "PIL", "pydantic", "rich", "typer"})


def test_filling_a_picture_never_loads_torch() -> None:
    code = (
        "import numpy, infilling\n"
        "image = numpy.zeros((16, 16, 3), numpy.uint8)\n"
        "mask = numpy.zeros((16, 16), bool); mask[4:8, 4:8] = True\n"
        "infilling.fill(image, mask, 'push-pull')"
    )
    assert not loaded_after(code) & {"torch", "skimage", "matplotlib", "fastapi"}


def test_the_command_that_fills_loads_no_more_than_it_needs(tmp_path: Path) -> None:
    """Building pydantic models of the options took a fifth of the time that one picture takes."""
    Image.new("RGB", (64, 64), "grey").save(tmp_path / "in.png")
    words = ["fill", str(tmp_path / "in.png"), "--box", "8,8,9,9", "--out", str(tmp_path / "out.png")]
    code = f"from infilling.cli import main\ntry:\n    main({words})\nexcept SystemExit:\n    pass"
    assert not loaded_after(code) & {"torch", "skimage", "matplotlib", "fastapi", "pydantic", "rich"}
    assert (tmp_path / "out.png").exists()


def test_public_names_are_sorted_and_exist() -> None:
    assert infilling.__all__ == sorted(set(infilling.__all__))
    for public in infilling.__all__:
        assert getattr(infilling, public) is not None
