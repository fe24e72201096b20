"""The shape of the code, as CONTRIBUTING has it: short functions, short files, one thought a line."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

import infilling

PACKAGE = Path(infilling.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
MOST_LINES = {"function": 40, "file": 400}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def count_lines(function: Function) -> int:
    """Count the lines of a body, without its docstring and the functions inside it."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    lines: set[int] = set()
    for statement in body:
        lines.update(range(statement.lineno, (statement.end_lineno or 0) + 1))
    for node in ast.walk(function):
        if isinstance(node, FUNCTIONS) and node is not function:
            lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def count_kinds(kinds: type[ast.AST] | tuple[type[ast.AST], ...], nodes: Iterable[ast.AST]) -> int:
    return sum(isinstance(node, kinds) for node in nodes)


def find_faults(text: str) -> Iterator[str]:
    """Yield `line: what is wrong` for what the rules do not allow."""
    if (count := len(text.splitlines())) > MOST_LINES["file"]:
        yield f"1: a file of {count} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, FUNCTIONS) and (count := count_lines(node)) > MOST_LINES["function"]:
            yield f"{node.lineno}: {node.name} has {count} lines"
        if isinstance(node, COMPREHENSIONS) and count_kinds(COMPREHENSIONS, ast.walk(node)) > 1:
            yield f"{node.lineno}: a comprehension inside another"
        if isinstance(node, (ast.Tuple, ast.Call)) and count_kinds(ast.NamedExpr, ast.iter_child_nodes(node)):
            yield f"{node.lineno}: an assignment inside a tuple or a call"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_code_keeps_its_shape(path: Path) -> None:
    assert list(find_faults(path.read_text(encoding="utf-8"))) == []


def test_faults_would_be_found() -> None:
    long = "def f():\n    '''Text.'''\n" + "    x = 1\n" * 41
    nested = "def f():\n    def g():\n" + "        x = 1\n" * 39 + "    return g\n"
    assert list(find_faults(long)) == ["1: f has 41 lines"]
    assert list(find_faults(nested)) == []
    assert list(find_faults("x = [[b for b in a] for a in c]")) == ["1: a comprehension inside another"]
    assert list(find_faults("f(x := 1)")) == ["1: an assignment inside a tuple or a call"]
    assert list(find_faults("\n" * 401)) == ["1: a file of 401 lines"]
