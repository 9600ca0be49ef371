"""A mapping applied to a table: what rows become, in which order, and what is refused."""

import gzip
import json
import re
import sys
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows.files import partitions_of
from dataflows.lane import FileLane, LaneInput
from operators.lane_state import TimeRules
from schemas.adapters.mapping import read_mapping
from schemas.adapters.rules import encode
from schemas.adapters.sorting import Runs
from schemas.adapters.tabular import MappedMessage, RefusedRow, TabularSource
from schemas.durations import from_us
from schemas.errors import SettingsError, SourceError
from tests.mapped_tables import APPROVED, events_of, mapping_of, refused_of, source_of


def test_the_example_of_the_documentation_gives_what_it_says(tmp_path: Path) -> None:
    page = Path("docs/mappings.md").read_text("utf-8")
    blocks = dict(re.findall(r"<!-- example: (\S+) -->\n```\w+\n(.*?)```", page, re.DOTALL))
    (tmp_path / "shop_orders.csv").write_text(blocks["shop_orders.csv"], "utf-8")
    read = read_mapping(blocks["shop_orders.toml"], "shop_orders.toml")
    assert read.problems == ()
    assert read.value is not None
    source = TabularSource(read.value, str(tmp_path / "shop_orders.csv"))
    messages = list(source.messages())
    good = [m.raw.decode() for m in messages if isinstance(m, MappedMessage)]
    assert good == blocks["shop_orders.jsonl"].splitlines()
    assert [(m.reason, m.path) for m in messages if isinstance(m, RefusedRow)] == [("rule", "Ordered")]
    assert (source.rows_read, source.rows_skipped, source.progress()) == (5, 1, 1.0)


def test_one_row_makes_several_events_and_an_empty_time_makes_none(tmp_path: Path) -> None:
    mapping = """
[table]
time = "a"
zone = "UTC"
[[event]]
type = "order.approved"
id = "{o}-a"
set = { order_id = "{o}" }
[[event]]
type = "order.cancelled"
id = "{o}-c"
time = "c"
set = { order_id = "{o}", reason = "{why}" }
"""
    source = source_of(tmp_path, mapping, "o,a,c,why\n1,2025-01-02,2025-01-01,late\n2,2025-01-03,,\n")
    assert [(e["event_id"], e.get("reason")) for e in events_of(source)] == [
        ("1-c", "late"),
        ("1-a", None),
        ("2-a", None),
    ]
    offsets = [message.offset for message in source.messages()]
    assert offsets == [1001, 1000, 2000]


def test_an_empty_time_of_the_table_refuses_the_row(tmp_path: Path) -> None:
    source = source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, "order,t\n1,\n2,2025-01-01T00:00:00Z\n")
    assert refused_of(source) == [("schema", "t", "is empty, and order.approved needs a time")]


def test_the_plausible_range_is_judged_before_the_filters_and_bends_no_time(tmp_path: Path) -> None:
    mapping = """
[table]
time = "t"
from = "2018-01-01"
to = "2021-01-01"
[[event]]
type = "order.approved"
id = "{@row}"
when = { kind = "a" }
set = { order_id = "{o}" }
"""
    rows = [
        "1,a,2019-01-01T00:00:00Z",
        "2,b,1948-01-01T00:00:00Z",
        "3,b,2019-01-01T00:00:00Z",
        "4,a,2021-01-01T00:00:00Z",
    ]
    source = source_of(tmp_path, mapping, "o,kind,t\n" + "\n".join(rows) + "\n")
    messages = list(source.messages())
    assert [(m.offset, m.arrival_us) for m in messages] == [(o, messages[0].arrival_us) for o in (1000, 2000, 4000)]
    refused = [m for m in messages if isinstance(m, RefusedRow)]
    assert [(m.reason, m.path) for m in refused] == [("rule", "t"), ("rule", "t")]
    assert json.loads(refused[0].raw) == {"o": "2", "kind": "b", "t": "1948-01-01T00:00:00Z"}
    assert source.rows_skipped == 1


def test_a_row_refused_before_any_good_one_has_arrival_zero(tmp_path: Path) -> None:
    source = source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, "order,t\n1,never\n2,2025-01-01T00:00:00Z\n")
    assert [m.arrival_us > 0 for m in source.messages()] == [False, True]


def test_a_row_is_taken_whole_or_not_at_all(tmp_path: Path) -> None:
    mapping = (
        '[table]\ntime = "t"\n'
        + APPROVED
        + '\n[[event]]\ntype = "order.cancelled"\ntime = "c"\nset = { order_id = "{order}" }\n'
    )
    source = source_of(tmp_path, mapping, "order,t,c\n1,2025-01-01T00:00:00Z,soon\n")
    assert [type(m) for m in source.messages()] == [RefusedRow]


@pytest.mark.parametrize(
    ("table", "refused"),
    [
        ("order,t\n1\n", ("transport", "", "has 1 cells, the table has 2 columns")),
        ("order,t\n1,2,3\n", ("transport", "", "has 3 cells, the table has 2 columns")),
        ("order,t\n1,x\n", ("schema", "t", "'x' is not a time written as iso8601")),
        (
            "order,t\n1,2025-01-01\n",
            (
                "schema",
                "t",
                "'2025-01-01' has no offset from UTC and the mapping names no zone (set zone in [table])",
            ),
        ),
        (
            "order,t\n,2025-01-01T00:00:00Z\n",
            ("schema", "order", "is empty, and order_id of order.approved is made from it"),
        ),
        (
            b"order,t\n\xff,2025-01-01T00:00:00Z\n",
            ("transport", "", "has bytes that are not valid in the table's encoding"),
        ),
        (
            "order,t\n" + "x" * 140_000 + ",y\n",
            ("transport", "", "is not CSV: field larger than field limit (131072)"),
        ),
        (
            'order,t\n1,"2025-01-01T00:00:00Z\n2,2025-01-02T00:00:00Z\n',
            ("transport", "", "is not CSV: the file ends before the row does (a quote is never closed)"),
        ),
    ],
)
def test_what_is_refused_and_why(tmp_path: Path, table: str | bytes, refused: tuple[str, str, str]) -> None:
    source = source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, table)
    assert refused_of(source) == [refused]
    assert source.rows_read == 1


@pytest.mark.parametrize(
    ("order_id", "row", "path", "detail"),
    [
        ('"{order}-{no}"', "A,", "no", "is empty, and order_id of order.approved is made from it"),
        ('"{order}-{no}"', ",", "order", "is empty, and order_id of order.approved is made from it"),
        (
            '{ column = "no", lookup = "numbers" }',
            "A,7",
            "no",
            "'7' gives nothing, and order_id of order.approved is made from it",
        ),
    ],
)
def test_of_several_columns_the_one_that_gives_nothing_is_named(
    tmp_path: Path, order_id: str, row: str, path: str, detail: str
) -> None:
    rule = '[[event]]\ntype = "order.approved"\nid = "{@row}"\n[event.set]\norder_id = ' + order_id
    mapping = '[table]\ntime = "t"\n' + rule + '\n[lookup.numbers]\n1 = "one"\n'
    table = f"order,no,t\n{row},2025-01-01T00:00:00Z\n"
    assert refused_of(source_of(tmp_path, mapping, table)) == [("schema", path, detail)]


@pytest.mark.parametrize(
    ("rule", "row", "needs"),
    [
        ('id = "{order}-{no}"', "A,,2025-01-01,10:00", ("no", "the id of order.approved is made from it")),
        ('id = "{@row}"', "A,7,2025-01-01,", ("clock", "order.approved needs a time")),
    ],
)
def test_of_an_id_and_a_time_too(tmp_path: Path, rule: str, row: str, needs: tuple[str, str]) -> None:
    mapping = '[table]\ntime = "{day} {clock}"\nzone = "UTC"\n' + APPROVED.replace('id = "{@row}"', rule)
    source = source_of(tmp_path, mapping, f"order,no,day,clock\n{row}\n")
    assert refused_of(source) == [("schema", needs[0], f"is empty, and {needs[1]}")]


def test_rows_behind_a_broken_one_are_read(tmp_path: Path) -> None:
    table = "order,t\n" + "x" * 140_000 + ",y\n2,2025-01-01T00:00:00Z\n\n  ,  \n"
    source = source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, table)
    assert [type(m) for m in source.messages()] == [RefusedRow, MappedMessage]
    assert (source.rows_read, source.rows_skipped) == (
        3,
        1,
    )  # the row of blanks is skipped, the empty line is none


@pytest.mark.parametrize(
    ("settings_text", "table"),
    [
        ("", b"order,t,x\n1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ("", b"\xef\xbb\xbforder,t,x\n1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ("", b"order,t,x\r\n1,2025-01-01T00:00:00Z,\xc3\xa9,,\r\n"),
        ('delimiter = "tab"', b"order\tt\tx\n1\t2025-01-01T00:00:00Z\t\xc3\xa9\n"),
        ('delimiter = ";"\nquote = "\'"', b"order;t;x\n'1';'2025-01-01T00:00:00Z';'\xc3\xa9'\n"),
        ("", b'order,t,x\n1,2025-01-01T00:00:00Z,"\xc3\xa9"'),
        ('encoding = "latin-1"', b"order,t,x\n1,2025-01-01T00:00:00Z,\xe9\n"),
        ('encoding = "utf-16"', "order,t,x\n1,2025-01-01T00:00:00Z,é\n".encode("utf-16")),
        ('encoding = "utf-16-le"', "\ufefforder,t,x\n1,2025-01-01T00:00:00Z,é\n".encode("utf-16-le")),
        ('encoding = "utf-16-be"', '\ufeff"order",t,x\n1,2025-01-01T00:00:00Z,é\n'.encode("utf-16-be")),
        ("", '\ufeff"order",t,x\n1,2025-01-01T00:00:00Z,é\n'.encode()),
        ('columns = ["order", "t", "x"]', b"1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ('columns = ["order", "t", "x"]\nheader = true', b"a,b,c\n1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ("skip_lines = 2", b"Report\n\norder,t,x\n1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ("", gzip.compress(b"order,t,x\n1,2025-01-01T00:00:00Z,\xc3\xa9\n", mtime=0)),
    ],
)
def test_the_same_row_however_the_file_is_written(tmp_path: Path, settings_text: str, table: bytes) -> None:
    mapping = f'[table]\ntime = "t"\n{settings_text}\n' + APPROVED + 'reason = "{x}"\n'
    (event,) = events_of(source_of(tmp_path, mapping, table))
    assert (event["order_id"], event["reason"]) == ("1", "é")


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is an extra")
    moments = [datetime(2025, 1, 1, 10, tzinfo=UTC), datetime(2025, 1, 2, 10, 30, 0, 5, tzinfo=UTC)]
    columns = {
        "order": [7, 8],
        "t": arrow.array([m.replace(tzinfo=None) for m in moments], arrow.timestamp("ns")),
        "items": [["a", "b"], None],
        "price": [1.5, None],
    }
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    mapping = mapping_of(
        """
[table]
time = "t"
zone = "UTC"
formats = ["%d.%m.%Y"]
column = { items = { list = true } }
[[event]]
type = "order.created"
set = { order_id = "{order}", total = "{price}" }
lines = { over = "items", set = { line_id = "{@index}", sku = "{@each}", qty = 1 } }
""".replace("column =", "[column]\nitems =").replace("{ items = { list = true } }", "{ list = true }")
    )
    source = TabularSource(mapping, str(tmp_path / "t.parquet"))
    first, second = events_of(source)
    assert (first["order_id"], first["occurred_at"], first["total"]) == ("7", "2025-01-01T10:00:00Z", "1.5")
    assert [line["sku"] for line in first["lines"]] == ["a", "b"]  # type: ignore[attr-defined]
    assert second["occurred_at"] == "2025-01-02T10:30:00.000005Z"
    assert second["lines"] == []
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(SourceError, match="can't be read as Parquet"):
        TabularSource(mapping, str(tmp_path / "broken.parquet"))


def test_a_parquet_time_that_no_calendar_has_refuses_its_row_where_it_is_read(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is an extra")
    far = 1_768_000_000_000_000_000  # nanoseconds, taken for something coarser
    days = arrow.array([0, 0, 3_000_000], arrow.int32()).cast(arrow.date32())  # no rule reads them
    for unit in ("ms", "us"):
        times = arrow.array([0, far, 0], arrow.int64()).cast(arrow.timestamp(unit))
        parquet.write_table(arrow.table({"order": [1, 2, 3], "t": times, "day": days}), tmp_path / "t.parquet")
        mapping = mapping_of('[table]\ntime = "t"\nzone = "UTC"\n' + APPROVED)
        messages = list(TabularSource(mapping, str(tmp_path / "t.parquet")).messages())
        refused = [one for one in messages if isinstance(one, RefusedRow)]
        assert (len(messages), [(one.reason, one.path) for one in refused]) == (3, [("schema", "t")])
        assert json.loads(refused[0].raw)["t"] == f"timestamp[{unit}] {far} out of range"


def test_a_parquet_number_has_a_point_whatever_the_mapping_says_of_texts(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="Parquet is an extra")
    parquet = pytest.importorskip("pyarrow.parquet", reason="Parquet is an extra")
    columns = {
        "t": ["2025-01-01"],
        "f": [12.34],
        "d": arrow.array(["12.340"]).cast(arrow.decimal128(12, 3)),
        "x": ["12,34"],
        "single": arrow.array([12.34], arrow.float32()),
        "again": arrow.array([12.34]).dictionary_encode(),
    }
    parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    table = '[table]\ntime = "t"\nzone = "UTC"\ndecimal = ","\nthousands = "."\n'
    for column in columns.keys() - {"t"}:
        rule = f'[[event]]\ntype = "queue.depth"\n[event.set]\nqueue = "q"\ndepth = "{{{column}}}"\n'
        rule += f"[event.when]\n{column} = {{ gt = 12, lt = 13 }}\n"
        (event,) = events_of(TabularSource(mapping_of(table + rule), str(tmp_path / "t.parquet")))
        assert event["depth"] == 12.34


def test_without_pyarrow_parquet_is_told_to_need_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match=r"Parquet needs pyarrow: pip install 'andon\[parquet\]'"):
        source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, b"PAR1....", "t.parquet")


def test_a_message_takes_as_much_memory_as_it_is_long() -> None:
    tracemalloc.start()
    try:
        made = [encode({"order_id": str(number)}) for number in range(1_000)]
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert len(made) == 1_000
    assert held < 300_000


def test_two_files_give_different_ids_where_no_id_is_declared(tmp_path: Path) -> None:
    mapping = '[table]\ntime = "t"\n' + APPROVED.replace('id = "{@row}"\n', "")
    table = "order,t\n1,2025-01-01T00:00:00Z\n"
    ids = [events_of(source_of(tmp_path, mapping, table, name))[0]["event_id"] for name in ("a.csv", "b.csv")]
    assert ids == ["a.csv.1.1", "b.csv.1.1"]


def test_two_files_of_one_name_give_different_ids_too(tmp_path: Path) -> None:
    mapping = mapping_of('[table]\ntime = "t"\n' + APPROVED.replace('id = "{@row}"\n', ""))
    paths = [tmp_path / folder / "t.csv" for folder in ("north", "south")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(f"order,t\n{path.parent.name},2025-01-01T00:00:00Z\n")
    source = LaneInput(
        partitions=tuple(partitions_of(list(map(str, paths)))), rules=TimeRules(), batch=9, mapping=mapping
    )
    lane = FileLane("lane-0", ["lane-0"], source, None, lambda _lane, _share: None)
    events = []
    while not lane.ended:
        merged = lane.next()
        events += [one.event for one in merged.events] if merged is not None else []
    assert [(event.event_id, event.order_id) for event in events] == [("t.csv.1.1", "north"), ("t.csv/1.1.1", "south")]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "is empty"),
        ("book.xlsx", b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        ("long.csv", b"order,t," + b"x" * 140_000 + b"\n", "its header line is not CSV: field larger than field limit"),
        ("cut.csv.gz", gzip.compress(b"order,t\n" + b"1,2025-01-01T00:00:00Z\n" * 999, mtime=0)[:60], "can't be read"),
    ],
)
def test_a_file_that_is_no_table_is_said_to_be_none(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        list(source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, content, name).messages())


def test_a_missing_file_is_a_source_error() -> None:
    with pytest.raises(SourceError, match=r"nowhere\.csv: can't be read: No such file"):
        TabularSource(mapping_of('[table]\ntime = "t"\n' + APPROVED), "nowhere.csv")


def test_columns_that_are_not_there_are_told_with_those_that_are(tmp_path: Path) -> None:
    mapping = '[table]\ntime = "Time"\n' + APPROVED + 'reason = "note"\nchannel = "{chanel}"\n'
    with pytest.raises(SettingsError) as caught:
        source_of(tmp_path, mapping, "order,time,note,channel\n")
    told = [str(problem).replace(str(tmp_path), "DIR") for problem in caught.value.problems]
    listed = "the table DIR/t.csv has no such column; its columns are: order, time, note, channel"
    assert told == [
        f"t.toml:7: table.time = \"Time\": did you mean 'time'? {listed}",
        f"t.toml:15: event[0].set.channel = \"chanel\": did you mean 'channel'? {listed}",
        (
            't.toml:14: event[0].set.reason = "note": is a fixed text here; write "{note}" for the column, '
            'or { const = "note" } if the text is meant'
        ),
    ]
    with pytest.raises(SettingsError, match='is delimiter = ";" missing'):
        source_of(tmp_path, mapping, "order;time;note;channel\n")


@pytest.mark.parametrize(
    ("header", "key", "shown"),
    [
        ("order\tt".encode("utf-16"), 'table.encoding = "utf-8"', r"\udcff\udcfeo\x00r"),
        ("Größe,order".encode("cp1252"), "table.time", r"Gr\udcf6\udcdfe, order"),
    ],
)
def test_a_header_that_is_of_another_encoding_is_said_to_be(
    tmp_path: Path, header: bytes, key: str, shown: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, header + b"\n1,2\n")
    told = str(caught.value)
    assert key in told
    assert f"its columns are: {shown}" in told
    assert told.endswith('(not in the table\'s encoding: is encoding = "cp1252" or "utf-16" missing in [table]?)')


def test_a_time_of_recording_is_the_arrival(tmp_path: Path) -> None:
    mapping = '[table]\ntime = "t"\nrecorded = "r"\nfrom = "2024-01-01"\n' + APPROVED
    rows = [
        "1,2025-01-01T00:00:00Z,2025-01-03T00:00:00Z",
        "2,2025-01-02T00:00:00Z,",
        "3,2025-01-02T00:00:00Z,1999-01-01T00:00:00Z",
    ]
    source = source_of(tmp_path, mapping, "order,t,r\n" + "\n".join(rows))
    first, refused, second = source.messages()
    assert isinstance(refused, RefusedRow)
    assert (refused.reason, refused.path, refused.arrival_us) == ("rule", "r", first.arrival_us)
    assert json.loads(second.raw)["recorded_at"] == from_us(second.arrival_us).isoformat().replace("+00:00", "Z")
    assert (first.offset, second.offset) == (2000, 1000)


def test_equal_rows_have_the_same_hash_and_others_not(tmp_path: Path) -> None:
    mapping = '[table]\ntime = "t"\n' + APPROVED.replace("{@row}", "{@hash}")
    row = "1,2025-01-01T00:00:00Z\n"
    ids = [e["event_id"] for e in events_of(source_of(tmp_path, mapping, "order,t\n" + row + row + "2" + row[1:]))]
    assert ids[0] == ids[1] != ids[2]


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60), st.integers(1, 9), st.integers(0, 70))
@settings(max_examples=60, deadline=None)
def test_sorting_on_disk_and_skipping_give_the_same(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, bool]], run_length: int, skip: int
) -> None:
    start = datetime(2025, 1, 1, tzinfo=UTC)
    table = "order,t\n" + "".join(
        f"{number},{(start + timedelta(hours=hours)).isoformat() if good else 'bad'}\n"
        for number, (hours, good) in enumerate(rows)
    )
    mapping = '[table]\ntime = "t"\n' + APPROVED
    source = source_of(tmp_path_factory.mktemp("s"), mapping, table)
    plain = list(source.messages())
    assert plain == sorted(plain, key=lambda message: (message.arrival_us, message.offset))
    assert sorted(m.offset for m in plain) == [1000 * (n + 1) for n in range(len(rows))]
    for message in plain:
        if isinstance(message, MappedMessage):
            assert (
                from_us(message.arrival_us).isoformat().replace("+00:00", "Z") == json.loads(message.raw)["occurred_at"]
            )
    source._run_length = run_length
    assert list(source.messages(skip)) == plain[skip:]


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=20)), max_size=2_000), st.integers(1, 600))
@settings(max_examples=30, deadline=None)
def test_runs_sort_like_sorted(pairs: list[tuple[int, bytes]], run_length: int) -> None:
    items = [(arrival, offset, raw, "", "", "") for offset, (arrival, raw) in enumerate(pairs)]
    with Runs(run_length, run_bytes=4_000) as runs:
        for item in items:
            runs.add(item)
        assert list(runs.merged()) == sorted(items)


def test_progress_grows_to_one(tmp_path: Path) -> None:
    table = "order,t\n" + "1,2025-01-01T00:00:00Z\n" * 30_000
    source = source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, table)
    assert source.progress() == 0.0
    next(source.messages())
    assert source.progress() == 1.0


ANYTHING = """
[table]
time = "t"
zone = "Europe/Berlin"
formats = ["iso8601", "epoch_s", "%d.%m.%Y %H:%M"]
[column.l]
list = true
[[event]]
type = "order.created"
set = { order_id = "{o}", total = { number = "{n} / 3" } }
lines = { over = "l", set = { line_id = "{@index}", sku = "{@each}", qty = "{n}" } }
[[event]]
type = "task.queued"
id = "{@row}-{@index}"
explode = "l"
when = { n = { gt = 1 } }
set = { task_id = "{@each}", task_type = "pick", node = "{o}" }
"""
CELLS = st.one_of(
    st.sampled_from(
        [
            "",
            "1",
            "2025-01-01",
            "31.01.2025 10:00",
            "['a', 2]",
            "[[",
            '"',
            "NaN",
            "1e400",
            "0",
            "99999999999999999",
        ]
    ),
    st.text(max_size=12),
    st.floats().map(str),
)


@given(
    st.one_of(
        st.lists(st.lists(CELLS, max_size=6), max_size=12).map(lambda rows: "\n".join(map(",".join, rows)).encode()),
        st.binary(max_size=300),
    )
)
@settings(max_examples=300, deadline=None)
def test_whatever_is_in_a_table_is_an_event_or_refused_or_skipped(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    source = source_of(tmp_path_factory.mktemp("a"), ANYTHING, b"o,t,n,l\n" + content)
    messages = list(source.messages())
    assert len({message.offset // 1000 for message in messages}) + source.rows_skipped == source.rows_read
    assert len({message.offset for message in messages}) == len(messages)
    for message in messages:
        assert isinstance(json.loads(message.raw), dict)
        if isinstance(message, RefusedRow):
            assert message.reason in ("transport", "schema", "rule")
