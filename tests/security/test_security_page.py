"""``docs/security.md`` is true and complete: files exist, and all requirements are covered."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "security.md").read_text()
STATES = {"met", "in part", "not met", "by the operator", "none here"}
# ASVS 5.0.0: the level of each requirement, section by section, in order.
LEVELS = {
    "V1.1": "22", "V1.2": "1111122223", "V1.3": "112222222223", "V1.4": "222", "V1.5": "123",
    "V2.1": "122", "V2.2": "112", "V2.3": "12223", "V2.4": "23",
    "V3.1": "3", "V3.2": "113", "V3.3": "12223", "V3.4": "11222233", "V3.5": "11122333",
    "V3.6": "3", "V3.7": "22333",
    "V4.1": "12233", "V4.2": "23333", "V4.3": "22", "V4.4": "1222",
    "V5.1": "2", "V5.2": "112333", "V5.3": "113", "V5.4": "222",
    "V6.1": "122", "V6.2": "111111112222", "V6.3": "11223333", "V6.4": "112233",
    "V6.5": "22222333", "V6.6": "2223", "V6.7": "33", "V6.8": "2222",
    "V7.1": "222", "V7.2": "1111", "V7.3": "22", "V7.4": "11222", "V7.5": "223", "V7.6": "22",
    "V8.1": "1233", "V8.2": "1123", "V8.3": "133", "V8.4": "23",
    "V9.1": "111", "V9.2": "1222",
    "V10.1": "22", "V10.2": "223", "V10.3": "22223", "V10.4": "1111122222233333", "V10.5": "22222",
    "V10.6": "22", "V10.7": "222",
    "V11.1": "2233", "V11.2": "22233", "V11.3": "11233", "V11.4": "1222", "V11.5": "23",
    "V11.6": "23", "V11.7": "33",
    "V12.1": "12233", "V12.2": "11", "V12.3": "22223",
    "V13.1": "2333", "V13.2": "222223", "V13.3": "2233", "V13.4": "1222233",
    "V14.1": "22", "V14.2": "12223333", "V14.3": "122",
    "V15.1": "12233", "V15.2": "12233", "V15.3": "1222222", "V15.4": "3333",
    "V16.1": "2", "V16.2": "22222", "V16.3": "2222", "V16.4": "222", "V16.5": "2223",
    "V17.1": "23", "V17.2": "22223333", "V17.3": "22",
}  # fmt: skip


def rows() -> list[list[str]]:
    """Return the cells of the requirements' tables."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if re.match(r"\| V\d", line)
    ]


def test_every_test_and_file_that_the_page_names_exists() -> None:
    tests = {
        name
        for path in (ROOT / "tests").rglob("*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(), re.MULTILINE)
    }
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 60
    assert named <= tests, sorted(named - tests)
    files = set(
        re.findall(
            r"`((?:dashboard|templates|static|tests|docs)/[\w./-]*"
            r"|[\w.-]+\.(?:txt|md|yaml|toml)|Dockerfile)`",
            PAGE,
        )
    )
    assert len(files) > 50
    assert all((ROOT / name).exists() for name in files), sorted(
        name for name in files if not (ROOT / name).exists()
    )


def test_every_requirement_of_levels_1_and_2_stands_there_once() -> None:
    wanted = [
        f"{section}.{number}"
        for section, levels in LEVELS.items()
        for number, level in enumerate(levels, 1)
        if level in "12"
    ]
    assert len(wanted) == 253
    listed = re.findall(
        r"\bV\d+\.\d+\.\d+\b",
        "\n".join(
            [row[0] for row in rows()]
            + [line for line in PAGE.splitlines() if line.startswith("None here:")]
        ),
    )
    assert sorted(listed) == sorted(set(listed)), sorted(
        {each for each in listed if listed.count(each) > 1}
    )
    assert set(wanted) <= set(listed), sorted(set(wanted) - set(listed))


def test_each_says_whether_it_is_met_and_what_is_missing_where_it_is_not() -> None:
    for row in rows():
        assert row[1] in STATES, row
        assert len(row) == 5, row
        assert row[2], row
        if row[1] == "met":
            assert row[3], row
