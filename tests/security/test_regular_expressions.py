"""Regular expressions over outside text take linear time, tested with 1 MB of text.

``dashboard.sandbox`` reads only tests' texts and ``dashboard.migrations`` none: both are left out.
"""

import ast
import functools
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import dashboard
from dashboard.core.error_values import without_values
from dashboard.core.paths import ASSETS
from dashboard.core.redaction import scrubbed
from dashboard.core.sql_text import without_literals
from dashboard.findings.rules.error_texts import normalised
from dashboard.findings.rules.refused_access import refuses_access
from dashboard.masking.rule_file import read_masks
from dashboard.peliqan.retries import retry_wait
from dashboard.users.errors import PeopleError
from dashboard.users.service import checked_address
from tests.security.patterns import MEGABYTE, hostile_texts

LIMIT = 0.2  # seconds of processor time for 1 MB
FLAGS = {each.name for each in re.RegexFlag} | {each for each in vars(re) if each.isupper()}
ROOT = Path(dashboard.__file__).parent
LEFT_OUT = ("dashboard.sandbox", "dashboard.migrations")


def refused_or(read: Callable[[str], object]) -> Callable[[str], object]:
    def attempt(text: str) -> None:
        with suppress(PeopleError):
            read(text)

    return attempt


# Patterns whose text is cut first, since 1 MB takes them too long: the function around them gets
# the 1 MB instead.
CUT_FIRST: dict[str, tuple[str, Callable[[str], object]]] = {
    "dashboard.core.redaction._OUT": ("scrubbed", scrubbed),
    "dashboard.findings.rules.error_texts._PATTERNS": ("normalised", normalised.__wrapped__),
    "dashboard.findings.rules.refused_access._SIGNS": ("refuses_access", refuses_access),
    "dashboard.findings.rules.refused_access._HARMLESS": ("refuses_access", refuses_access),
    "dashboard.findings.rules.refused_access._ADDRESS": ("refuses_access", refuses_access),
    "dashboard.core.error_values._TOKENS": ("without_values", without_values),
    "dashboard.core.sql_text._TOKENS": ("without_literals", without_literals),
    "dashboard.masking.rule_file._HUMP": ("_find", lambda text: MASKS.kind_of(text)),
}
MASKS = read_masks(ASSETS / "masks.ini")
# Their models have patterns of Rust's engine, which is linear (https://docs.rs/regex/, "Untrusted
# input").
OF_PYDANTIC = {"dashboard.settings", "dashboard.peliqan.models"}
# Functions of libraries with their own patterns, as the console calls them.
OF_LIBRARIES: dict[str, Callable[[str], object]] = {
    "an e-mail address": refused_or(checked_address),
    "the domain of an e-mail address": refused_or(lambda text: checked_address("a@" + text)),
    "a Retry-After header": retry_wait,
}


def module_names() -> list[str]:
    found = [each.name for each in pkgutil.walk_packages([str(ROOT)], "dashboard.")]
    return [
        name for name in found if not name.startswith(LEFT_OUT) and not name.endswith("__main__")
    ]


def patterns_in(value: Any) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from patterns_in([*value, *value.values()])
    elif isinstance(value, (list, tuple, set, frozenset)):
        for each in value:
            yield from patterns_in(each)


@functools.cache
def collected() -> dict[str, list[re.Pattern[str]]]:
    """Return the patterns of constants by ``module.NAME`` or ``module.Class.NAME``."""
    found: dict[str, list[re.Pattern[str]]] = {}
    for module_name in module_names():
        holders: list[Any] = [importlib.import_module(module_name)]
        holders += [
            each
            for each in vars(holders[0]).values()
            if isinstance(each, type) and each.__module__ == module_name
        ]
        for holder in holders:
            for name, value in list(vars(holder).items()):
                if patterns := list(patterns_in(value)):
                    owner = [holder.__name__] if isinstance(holder, type) else []
                    found[".".join([module_name, *owner, name])] = patterns
    return found


def seconds(use: Callable[[str], object], text: str) -> float:
    """Return this thread's processor time, the best of twelve: others share the machine."""
    best = float("inf")
    for _ in range(12):
        before = time.thread_time()
        use(text)
        best = min(best, time.thread_time() - before)
        if best <= LIMIT:
            break
    return best


OPERATIONS: dict[str, Callable[[re.Pattern[str]], Callable[[str], object]]] = {
    "search": lambda pattern: pattern.search,
    "match": lambda pattern: pattern.match,
    "fullmatch": lambda pattern: pattern.fullmatch,
    "finditer": lambda pattern: lambda text: sum(1 for _ in pattern.finditer(text)),
    "findall": lambda pattern: pattern.findall,
    "split": lambda pattern: pattern.split,
    "sub": lambda pattern: lambda text: pattern.sub("…", text),
    "subn": lambda pattern: lambda text: pattern.subn("…", text),
}


@functools.cache
def syntax_of(module_name: str) -> ast.Module:
    path = ROOT.parent.joinpath(*module_name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text("utf-8"))


def operations_on(name: str) -> set[str]:
    """Return the uses of a constant's pattern, as far as the text shows; otherwise all uses."""
    module_name, _, constant = name.rpartition(".")
    found = set()
    for each in [module_name] if constant.startswith("_") else module_names():
        for node in ast.walk(syntax_of(each)):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in OPERATIONS
                and last_name(node.value) == constant
            ):
                found.add(node.attr)
    return found or set(OPERATIONS)


def last_name(node: ast.AST) -> str:
    return (
        node.id
        if isinstance(node, ast.Name)
        else node.attr
        if isinstance(node, ast.Attribute)
        else ""
    )


def inside_functions(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of a module's functions, with the innermost function's name."""
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            for node in ast.walk(function):
                if node is not function:
                    yield getattr(function, "name", "lambda"), node


def cases() -> list[Any]:
    return [
        pytest.param(name, pattern, id=f"{name}-{number}")
        for name, patterns in collected().items()
        for number, pattern in enumerate(patterns)
    ]


@pytest.mark.parametrize(("name", "pattern"), cases())
def test_a_pattern_takes_a_megabyte_of_hostile_text_in_a_fifth_of_a_second(
    name: str, pattern: re.Pattern[str]
) -> None:
    builders = hostile_texts(pattern)
    if name in CUT_FIRST:
        use = CUT_FIRST[name][1]
        for build in worst_of(
            OPERATIONS["sub"](pattern),
            worst_of(OPERATIONS["sub"](pattern), builders, 300, 20),
            1_500,
            3,
        ):
            text = build(MEGABYTE)
            assert seconds(use, text) <= LIMIT, f"{pattern.pattern!r} over {text[:60]!r}…"
        return
    for use in (OPERATIONS[each](pattern) for each in sorted(operations_on(name))):
        # First short texts, then longer ones of the slowest: slow patterns fail before 1 MB.
        for size, most in ((300, 24), (5_000, 6), (40_000, 2), (MEGABYTE, 1)):
            builders = worst_of(use, builders, size, most)
            text = builders[0](size)
            assert seconds(use, text) <= LIMIT, (
                f"{pattern.pattern!r} over {size:,} characters: {text[:60]!r}…{text[-20:]!r}"
            )


def worst_of(
    use: Callable[[str], object], builders: list[Callable[[int], str]], size: int, most: int
) -> list[Callable[[int], str]]:
    """Return the texts that take longest, the worst first."""
    texts = [(build, build(size)) for build in builders]
    return [build for build, _ in sorted(texts, key=lambda each: -seconds(use, each[1]))[:most]]


@pytest.mark.parametrize("read", OF_LIBRARIES.values(), ids=OF_LIBRARIES)
@pytest.mark.parametrize(
    "part", ["a", "@", "a.", "a@", '"', " ", "\u0300", "é", "(", "\\", "1 ", "Mon, "]
)
def test_what_a_library_reads_takes_a_megabyte_in_a_fifth_of_a_second(
    read: Callable[[str], object], part: str
) -> None:
    assert seconds(read, (part * MEGABYTE)[:MEGABYTE]) <= LIMIT


def test_every_pattern_is_a_constant_that_the_test_above_collects() -> None:
    collecting = {name.rpartition(".")[0] for name in collected()}
    for module_name in module_names():
        tree = syntax_of(module_name)
        uses = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and last_name(node.value) == "re"
        ]
        assert {node.attr for node in uses} <= {"compile", "escape", "Pattern", "Match", *FLAGS}, (
            f"{module_name}: a pattern without a name"
        )
        compiled = [node for node in uses if node.attr == "compile"]
        late = {node for _, node in inside_functions(tree)} & set(compiled)
        assert not late, f"{module_name}: a pattern is compiled inside of a function"
        assert not compiled or module_name in collecting, (
            f"{module_name}: its pattern was not found"
        )
        imported = [
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in {"re", "regex"}
        ]
        assert not imported, f"{module_name}: import re as a whole"
        words = {node.arg for node in ast.walk(tree) if isinstance(node, ast.keyword)}
        assert not words & {"pattern", "regex"} or module_name in OF_PYDANTIC, (
            f"{module_name}: a library is given a pattern"
        )


@pytest.mark.parametrize("name", CUT_FIRST)
def test_a_pattern_over_text_that_is_cut_first_is_used_in_one_function_only(name: str) -> None:
    module_name, _, constant = name.rpartition(".")
    tree = syntax_of(module_name)
    loads = [
        node
        for node in ast.walk(tree)
        if last_name(node) == constant and isinstance(getattr(node, "ctx", None), ast.Load)
    ]
    functions = {function for function, node in inside_functions(tree) if node in loads}
    assert constant.startswith("_")
    assert functions == {CUT_FIRST[name][0]}
    assert len(loads) == sum(node in loads for _, node in inside_functions(tree))


def test_the_texts_find_the_known_kinds_of_slow_patterns() -> None:
    for written in (
        r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}",
        r"\[.*?\]",
        r"/\*.*?\*/",
        r"a+b",
        r"\s+$",
        r"(\w*)=\w*;",
    ):
        pattern = re.compile(written)
        [worst, *_] = worst_of(
            pattern.search, worst_of(pattern.search, hostile_texts(pattern), 50, 30), 1_000, 1
        )
        # Eight times the text takes 64 times as long or more; a linear pattern 8 times.
        assert seconds(pattern.search, worst(8_000)) > 25 * seconds(pattern.search, worst(1_000)), (
            written
        )
