"""No function is longer than 50 lines; ruff limits statements and branches, not lines."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST = 50


def long_functions(source: str) -> Iterator[tuple[str, int]]:
    """Yield the name and the number of lines of each function that is too long."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > LONGEST:
                yield node.name, lines


def test_no_function_is_longer_than_fifty_lines() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name} has {lines} lines"
        for folder in ("dashboard", "scripts", "bench", "tests", "examples")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "migrations" not in path.parts
        for name, lines in long_functions(path.read_text())
    ]
    assert not found, "\n".join(found)
