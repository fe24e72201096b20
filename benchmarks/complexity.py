"""Branches per 10 body lines, and lines of Python, of a source tree.

    python benchmarks/complexity.py [FOLDER] [--files] [--worst 10]

**Body lines** are the logical lines of functions and methods: one for each statement, however many lines a
formatter breaks it into. Signatures, decorators, docstrings, comments and blank lines do not count. A nested
function counts as part of the one around it.

**Branches** are the places where a reader has to hold more than one way in mind: `if` and `elif`, `for`,
`while`, `except`, `case`, `assert`, the conditional expression (`a if b else c`), each `and` or `or`, each
`for` and `if` of a comprehension, and the assignment inside an expression (`:=`). `else`, `finally`, `with`,
`try` and comparisons do not count.

The density is branches / body lines × 10: 4.2 for commit 58e7c45. Lines of Python are all lines of the files,
as `wc -l` counts them.
"""

import argparse
import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case, ast.Assert, ast.IfExp,
    ast.NamedExpr,
)  # fmt: skip

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Count:
    """Branches and lines of a function, a file or a tree.

    Attributes:
        name: of what was counted.
        branches: number of branches in function bodies.
        body: number of body lines.
        lines: number of all lines.
    """

    name: str
    branches: int
    body: int
    lines: int

    @property
    def density(self) -> float:
        """Branches per 10 body lines; 0 without a body."""
        return 10 * self.branches / self.body if self.body else 0.0


def count_functions(path: Path, root: Path) -> Iterator[Count]:
    """Yield the count of every function and method of a file that is not inside another function."""
    for name, function in find_functions(ast.parse(path.read_text(encoding="utf-8"))):
        nodes = [node for statement in function.body for node in ast.walk(statement)]
        yield Count(
            name=f"{path.relative_to(root)}:{function.lineno} {name}",
            branches=sum(map(count_branches, nodes)),
            body=sum(map(is_body_line, nodes)),
            lines=(function.end_lineno or 0) - function.lineno + 1,
        )


def is_body_line(node: ast.AST) -> bool:
    """Say whether a node is a statement that counts: no docstring, and no header of a nested function."""
    is_text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.stmt) and not is_text and not isinstance(node, FUNCTIONS)


def count_branches(node: ast.AST) -> int:
    """Return how many branches a node adds by itself.

    >>> tree = ast.parse("x = [a for a in b if a and c] if d or e or f else 0")
    >>> sum(map(count_branches, ast.walk(tree)))
    6
    """
    if isinstance(node, ast.comprehension):
        return 1 + len(node.ifs)
    if isinstance(node, ast.BoolOp):
        return len(node.values) - 1
    return int(isinstance(node, BRANCHES))


def find_functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Yield the functions and methods that are not inside another function, with their dotted names."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, FUNCTIONS):
            yield f"{prefix}{node.name}", node
        elif isinstance(node, ast.ClassDef):
            yield from find_functions(node, f"{prefix}{node.name}.")
        else:
            yield from find_functions(node, prefix)


def add_up(name: str, counts: list[Count], lines: int) -> Count:
    """Return the sum of some functions' counts, for a file or a tree of so many lines."""
    return Count(name, sum(each.branches for each in counts), sum(each.body for each in counts), lines)


def main() -> None:
    """Count, and print a table."""
    parser = argparse.ArgumentParser(description="Branches per 10 body lines, and lines of Python.")
    parser.add_argument("folder", type=Path, nargs="?", default=SRC)
    parser.add_argument("--worst", type=int, default=10, help="functions to list, those of most branches")
    parser.add_argument("--files", action="store_true", help="print a line for every file")
    options = parser.parse_args()
    root = options.folder.resolve()
    functions: list[Count] = []
    files: list[Count] = []
    for path in sorted(root.rglob("*.py")) if root.is_dir() else [root]:
        found = list(count_functions(path, root if root.is_dir() else root.parent))
        functions += found
        lines = len(path.read_bytes().splitlines())
        files.append(add_up(str(path.relative_to(root)) if root.is_dir() else path.name, found, lines))
    total = add_up("in all", functions, sum(each.lines for each in files))
    worst = sorted(functions, key=lambda each: (-each.branches, each.name))[: options.worst]
    print("| what | lines | body lines | branches | per 10 body lines |")
    print("|---|---:|---:|---:|---:|")
    for each in [*(files if options.files else []), total, *worst]:
        print(f"| {each.name} | {each.lines:,} | {each.body:,} | {each.branches:,} | {each.density:.1f} |")


if __name__ == "__main__":
    main()
