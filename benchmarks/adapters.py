"""What the pipeline costs round a network of others: time and memory beside those of the network itself.

    python benchmarks/adapters.py [--megapixels 12] [--runs 5]

A network of LaMa's signature (fixed 512, 0..255) that does next to nothing fills a hole in an array of 12
megapixels. Prints seconds of the first call (opening, recognising and planning: cold) and the least of the
others (warm), each less the network's own, and the peak memory less that before the first call, each with its
bar. Exit code 1 if one is missed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

BARS = {"cold_s": 0.6, "warm_s": 0.25, "memory_mb": 400.0}

CODE = """
import json, resource, sys, time
import numpy as np
from infilling.filling.contract import Engine
path, side, runs, detail = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] == "detail"
rng = np.random.default_rng(0)
image = rng.integers(0, 256, (side * 3 // 4, side, 3), np.uint8)
mask = np.zeros(image.shape[:2], bool)
y, x = image.shape[0] // 3, side // 3
mask[y : y + 150, x : x + 180] = True
import infilling
from infilling.filling.engine import open_engine
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
own = []
class Timed:
    trained = True
    def __init__(self, inner): self.inner, self.name, self.size_rule = inner, inner.name, inner.size_rule
    def fill(self, image, mask):
        began = time.perf_counter()
        try: return self.inner.fill(image, mask)
        finally: own[-1] += time.perf_counter() - began
seconds, engine = [], None
for number in range(runs + 1):
    own.append(0.0)
    began = time.perf_counter()
    engine = engine or Timed(open_engine(path))
    infilling.fill(image, mask, engine, detail=detail)
    seconds.append(time.perf_counter() - began - own[-1])
print(json.dumps({"cold_s": seconds[0], "warm_s": min(seconds[1:]), "memory_mb": peak() - before}))
"""


def main() -> None:
    """Measure in a fresh process, without and with the texture that reduced crops get."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    side = round((asked.megapixels * 1e6 * 4 / 3) ** 0.5)
    missed = False
    print(
        f"{asked.megapixels:g} megapixels\n| texture | what | measured | bar | met |\n|---|---|---:|---:|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = make_network(Path(folder) / "noop.onnx")
        for kind in ("plain", "detail"):
            words = [sys.executable, "-c", CODE, str(path), str(side), str(asked.runs), kind]
            found = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
            for name, bar in BARS.items():
                missed |= found[name] > bar
                met = "no" if found[name] > bar else "yes"
                print(f"| {kind} | {name} | {found[name]:.3f} | {bar:g} | {met} |", flush=True)
    sys.exit(missed)


def make_network(path: Path) -> Path:
    """Write a network of LaMa's signature that fills with one colour, in 0..255."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("Cast", ["mask"], ["hole"], to=TensorProto.BOOL),
        helper.make_node("Where", ["hole", "colour", "image"], ["filled"]),
        helper.make_node("Mul", ["filled", "top"], ["output"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, 512, 512])
        for name, channels in (("image", 3), ("mask", 1), ("output", 3))
    ]
    constants = [
        numpy_helper.from_array(np.float32(value), name) for name, value in (("colour", 0.5), ("top", 255))
    ]
    graph = helper.make_graph(nodes, "noop", ports[:2], ports[2:], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


if __name__ == "__main__":
    main()
