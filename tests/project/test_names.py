"""No name uses a word that docs/glossary.md replaces by a standard term."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Words that say nothing of what a thing is, or that mean something else in this field.
BANNED = frozenset(
    [
        "anew",
        "anyway",
        "asked",
        "beside",
        "besides",
        "came",
        "desk",
        "door",
        "doors",
        "gone",
        "hand",
        "heard",
        "hint",
        "keep",
        "kept",
        "let",
        "look",
        "looks",
        "looked",
        "pace",
        "place",
        "places",
        "said",
        "saying",
        "sight",
        "spare",
        "stand",
        "standing",
        "take",
        "taken",
        "tell",
        "tells",
        "tick",
        "told",
        "twin",
        "vouched",
        "wake",
        "wall",
        "whole",
        "whose",
        "word",
    ]
)
# Columns and endpoints, whose names stay; "decimal places"; users "handed over" to a provider.
ALLOWED = frozenset(
    [
        "decimal_places",
        "gone_at",
        "hand_over",
        "keep_address",
        "looked_at",
        "looks",
        "tick",
        "wake_cause",
        "wake_finding",
    ]
)


def names() -> Iterator[tuple[str, str]]:
    """Yield each module, class and function with its file."""
    for folder in ("dashboard", "bench", "tests/support"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "migrations" in path.parts:
                continue
            file = str(path.relative_to(ROOT))
            yield path.stem, file
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    yield node.name, file


def words_of(name: str) -> set[str]:
    """Return the words of a name in snake_case or CamelCase, in lower case."""
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def test_no_module_class_or_public_function_is_named_by_a_banned_word() -> None:
    found = [
        f"{file}: {name}"
        for name, file in names()
        if not name.startswith("_") and name not in ALLOWED and words_of(name) & BANNED
    ]
    assert not found, "\n".join(found)
