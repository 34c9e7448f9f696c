"""File formats: every value is in the file, and what a file cannot hold is reported."""

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import peliqan
from dashboard.exports import parquet
from dashboard.exports.formats import FORMATS, CsvFile, JsonLinesFile, ParquetLines, TextFile
from tests.support.databases import wait_for

SIMPLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SIMPLE, lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=5
)
NAMES = (
    'Quote " dot . slash / 😀',
    "Name, with comma",
    "Amount",
    "amount",
    "<b>bold</b>",
    "العنوان",
    "new\nline",
    "100 %s",
)


def columns(*names: str, type: str = "text", decimals: int | None = None) -> list[peliqan.Column]:
    return [peliqan.Column(name=name, type=type, decimals=decimals) for name in names]


def written(file: TextFile, *pages: list[dict[str, Any]]) -> bytes:
    return file.head() + b"".join(file.lines(page) for page in pages)


def as_csv(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode(), newline="")))


def make(lines: Path, target: Path) -> None:
    with parquet.ParquetWriter(lines, target) as writer:
        assert writer.finish() == target


def as_parquet(
    folder: Path,
    shape: list[peliqan.Column],
    values: list[dict[str, Any]],
    hidden: tuple[str, ...] = (),
) -> Any:
    lines, target = folder / "lines", folder / "table.parquet"
    lines.write_bytes(written(ParquetLines(shape, hidden), values))
    make(lines, target)
    return pyarrow.parquet.read_table(target)


def one_column(folder: Path, values: list[Any], **shape: Any) -> tuple[str, list[Any]]:
    """Return the type and the values of a column in the file."""
    found = as_parquet(
        folder, columns("A", **shape), [{"id": n, "A": value} for n, value in enumerate(values)]
    )
    return str(found.schema.field("A").type), found["A"].to_pylist()


@pytest.mark.parametrize("suffix", FORMATS)
def test_names_with_anything_in_them_and_twins_that_differ_by_case_are_columns_of_their_own(
    suffix: str, tmp_path: Path
) -> None:
    row = {"id": 1, **{name: f"value {index}" for index, name in enumerate(NAMES)}}
    if suffix == "parquet":
        assert as_parquet(tmp_path, columns(*NAMES), [row]).to_pylist() == [row]
        return
    content = written(FORMATS[suffix](columns(*NAMES)), [row])
    if suffix == "jsonl":
        assert json.loads(content) == row
    else:
        assert as_csv(content) == [["id", *NAMES], [str(value) for value in row.values()]]


def test_csv_has_text_that_a_spreadsheet_would_run_as_text_and_numbers_as_numbers() -> None:
    values = [
        "=1+1",
        "+1",
        "@SUM(A1)",
        "-2+3",
        "\tx",
        " =1",
        "-12.50",
        -3,
        10**400,
        "plain",
        None,
        "",
        True,
        [1, {"a": None}],
    ]
    file = CsvFile(columns("A", "=B"))
    found = as_csv(written(file, [{"id": 1, "A": value} for value in values]))
    assert found[0] == ["id", "A", "'=B"]
    texts = [
        "'=1+1",
        "+1",
        "'@SUM(A1)",
        "'-2+3",
        "'\tx",
        "' =1",
        "-12.50",
        "-3",
        "1" + "0" * 400,
        "plain",
        "",
        "",
        "true",
    ]
    assert [line[1] for line in found[1:]] == [*texts, '[1,{"a":null}]']


def test_csv_has_no_byte_order_mark_and_lines_and_quotes_within_a_value_come_back() -> None:
    content = written(CsvFile(columns("A")), [{"id": 1, "A": 'two\r\nlines, "quoted"'}])
    assert content.startswith(b"id,A\r\n")
    assert as_csv(content)[1] == ["1", 'two\r\nlines, "quoted"']


def test_json_lines_keep_shapes_and_every_line_is_json_for_anybody() -> None:
    values = [
        {"id": 4, "value": "Open"},
        [],
        None,
        10**400,
        0.1,
        True,
        float("inf"),
        [float("-inf")],
        "a\u2028b\nc",
    ]
    file = JsonLinesFile(columns("A"))
    content = written(file, [{"id": 1, "A": value} for value in values]).decode()

    def no_constant(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    found = [json.loads(line, parse_constant=no_constant)["A"] for line in content.split("\n")[:-1]]
    assert found == [*values[:6], "Infinity", ["-Infinity"], values[8]]
    assert file.remarks == [
        "2 numbers are too large for the file and stand as the text Infinity or -Infinity."
    ]


@given(st.lists(st.tuples(VALUES, st.text(), st.integers())))
def test_json_lines_give_back_whatever_came(rows: list[tuple[Any, str, int]]) -> None:
    values = [{"id": n, **dict(zip(NAMES, row, strict=False))} for n, row in enumerate(rows)]
    content = written(JsonLinesFile(columns(*NAMES[:3])), values)
    assert [json.loads(line) for line in content.split(b"\n")[:-1]] == values


@pytest.mark.parametrize("suffix", FORMATS)
def test_half_a_pair_of_utf_16_is_replaced_and_counted_in_every_format(
    suffix: str, tmp_path: Path
) -> None:
    file = FORMATS[suffix](columns("A", "B\udc00"))
    content = written(
        file,
        [
            {"id": 1, "A": "x\ud800y", "B\udc00": {"deep": "\udfff"}},
            {"id": 2, "A": "😀", "B\udc00": None},
        ],
    )
    assert "x\ufffdy" in content.decode()
    assert "😀" in content.decode()
    assert "characters that are no valid Unicode were replaced" in file.remarks[0]
    if suffix == "parquet":
        (tmp_path / "lines").write_bytes(content)
        make(tmp_path / "lines", tmp_path / "file")
        assert pyarrow.parquet.read_table(tmp_path / "file")["B\ufffd"].to_pylist() == [
            '{"deep":"\ufffd"}',
            None,
        ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_cell_of_a_hundred_kilobytes_is_whole(suffix: str, tmp_path: Path) -> None:
    long = "ü" * 100_000
    if suffix == "parquet":
        assert as_parquet(tmp_path, columns("A"), [{"id": 1, "A": long}])["A"].to_pylist() == [long]
    else:
        assert long.encode() in written(FORMATS[suffix](columns("A")), [{"id": 1, "A": long}])


def test_parquet_has_baserows_types_where_all_values_fit_them(tmp_path: Path) -> None:
    assert one_column(tmp_path, ["-1.50", None, "0.00"], type="number", decimals=2) == (
        "decimal128(38, 2)",
        [Decimal("-1.50"), None, Decimal("0.00")],
    )
    assert one_column(tmp_path, [1, None], type="autonumber") == ("int64", [1, None])
    assert one_column(tmp_path, [True, False, None], type="boolean") == (
        "bool",
        [True, False, None],
    )
    assert one_column(tmp_path, ["0001-01-02", "9999-12-31"], type="date") == (
        "date32[day]",
        [date(1, 1, 2), date(9999, 12, 31)],
    )
    times = ["2026-02-02T01:30:00.123456Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"]
    kind, found = one_column(tmp_path, times, type="date")
    assert kind == "timestamp[us, tz=UTC]"
    assert found == [
        datetime(2026, 2, 2, 1, 30, 0, 123456, UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 0, UTC),
    ]
    assert one_column(tmp_path, [{"id": 1}, []], type="json") == ("string", ['{"id":1}', "[]"])


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (["1.00", "1" * 50], {"type": "number", "decimals": 2}),
        (["1.00", "1.005"], {"type": "number", "decimals": 2}),
        (["1.00", "NaN"], {"type": "number", "decimals": 2}),
        (["1", "2"], {"type": "number"}),
        (["2026-02-02", "2026-02-02T01:30:00Z"], {"type": "date"}),
        (["2026-02-30"], {"type": "date"}),
        (["2026-02-02T01:30:00.123456789Z"], {"type": "date"}),
        (["true", "maybe"], {"type": "boolean"}),
        (["1" + "0" * 18], {"type": "autonumber"}),
    ],
)
def test_parquet_has_text_where_one_value_does_not_fit_so_that_none_is_lost(
    values: list[str], shape: dict[str, Any], tmp_path: Path
) -> None:
    assert one_column(tmp_path, values, **shape) == ("string", values)


def test_parquet_takes_many_rows_a_group_at_a_time_and_a_late_value_that_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "TEXT_AT_ONCE", 100)
    shape = columns("A", type="number", decimals=0)
    rows = [{"id": n, "A": "x" if n == 94 else str(n)} for n in range(95)]
    (tmp_path / "lines").write_bytes(
        written(ParquetLines(shape), *(rows[start : start + 10] for start in range(0, 95, 10)))
    )
    parquet.convert(tmp_path / "lines", tmp_path / "file")
    found = pyarrow.parquet.ParquetFile(tmp_path / "file")
    assert found.num_row_groups == 10
    assert found.read()["A"].to_pylist() == [*map(str, range(94)), "x"]
    assert found.read()["id"].to_pylist() == list(range(95))


def test_parquet_is_made_while_its_lines_are_still_written_wherever_they_are_cut(
    tmp_path: Path,
) -> None:
    lines, target = tmp_path / "lines", tmp_path / "file"
    whole = written(ParquetLines(columns("Ä")), [{"id": n, "Ä": "ä" * n} for n in range(60)])
    with lines.open("wb") as file, parquet.ParquetWriter(lines, target) as writer:
        for start in range(0, len(whole), 97):
            file.write(whole[start : start + 97])
            file.flush()
        writer.finish()
    assert pyarrow.parquet.read_table(target)["Ä"].to_pylist() == ["ä" * n for n in range(60)]


def test_only_what_is_not_written_yet_is_waited_for_however_long_a_line_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "TEXT_AT_ONCE", 50)
    lines, waits = tmp_path / "lines", list[float]()
    lines.write_bytes(written(ParquetLines(columns("A")), [{"id": 1, "A": "x" * 5000}]))

    def pages_complete(timeout: float) -> bool:
        waits.extend([timeout] if timeout else [])
        return bool(waits)

    parquet.convert(lines, tmp_path / "file", pages_complete)
    assert pyarrow.parquet.read_table(tmp_path / "file")["A"].to_pylist() == ["x" * 5000]
    assert len(waits) == 1


def test_a_parquet_file_whose_maker_is_left_before_it_is_whole_is_not_there(tmp_path: Path) -> None:
    lines, target = tmp_path / "lines", tmp_path / "file"
    lines.write_bytes(written(ParquetLines(columns("A")), [{"id": 1, "A": "x"}]))
    with parquet.ParquetWriter(lines, target):
        wait_for(target.exists, "the file is started")
    assert not target.exists()


def test_the_process_that_makes_a_parquet_file_ends_when_the_one_that_writes_its_lines_is_killed(
    tmp_path: Path,
) -> None:
    lines, target = tmp_path / "lines", tmp_path / "file"
    lines.write_bytes(written(ParquetLines(columns("A")), [{"id": 1, "A": "x"}]))
    program = (
        "import sys, time; from pathlib import Path; from dashboard.exports import parquet\n"
        "writer = parquet.ParquetWriter(*map(Path, sys.argv[1:]))\n"
        "print(writer._process.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(lines), str(target)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        maker = int(writer.stdout.readline())
        wait_for(target.exists, "the file is started")
        writer.kill()
    wait_for(lambda: has_ended(maker), "the process that makes the file ends")


def has_ended(process_id: int) -> bool:
    """Return whether a process has ended, also if no parent has waited for it."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_masked_column_is_text_in_parquet_and_an_empty_table_has_its_columns(
    tmp_path: Path,
) -> None:
    masked = as_parquet(
        tmp_path, columns("A", type="boolean"), [{"id": 1, "A": "••••••"}], hidden=("A",)
    )
    assert masked["A"].to_pylist() == ["••••••"]
    empty = as_parquet(tmp_path, columns("A", "B"), [])
    assert (empty.column_names, empty.num_rows) == (["id", "A", "B"], 0)


def test_a_parquet_file_that_cannot_be_made_leaves_none_and_says_nothing_of_the_rows(
    tmp_path: Path,
) -> None:
    (tmp_path / "lines").write_text('[["A","text",null]]\n["secr')
    with pytest.raises(parquet.ParquetFailed, match="could not be made") as caught:
        make(tmp_path / "lines", tmp_path / "file")
    assert "secr" not in repr(caught.value)
    assert not (tmp_path / "file").exists()


def test_a_table_with_a_column_called_id_has_it_once() -> None:
    assert as_csv(written(CsvFile(columns("id", "A")), [{"id": 7, "A": "x"}])) == [
        ["id", "A"],
        ["7", "x"],
    ]
