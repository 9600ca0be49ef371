"""A mapping applied to a table: what rows become, in which order, and what is refused."""

import csv
import gzip
import io
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.adapters.mapping import Mapping, read_mapping
from schemas.adapters.sorting import Runs
from schemas.adapters.tabular import MappedMessage, RefusedRow, TabularSource
from schemas.durations import from_us
from schemas.errors import SettingsError, SourceError
from schemas.events import Event

HEAD = """
[mapping]
name = "t"
source = "s1"
system = "oms"
"""
APPROVED = """
[[event]]
type = "order.approved"
id = "{@row}"
[event.set]
order_id = "{order}"
"""


def mapping_of(text: str) -> Mapping:
    read = read_mapping(HEAD + text, "t.toml")
    assert read.problems == ()
    assert read.value is not None
    return read.value


def source_of(folder: Path, mapping: str, table: str | bytes, name: str = "t.csv") -> TabularSource:
    path = folder / name
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    return TabularSource(mapping_of(mapping), str(path))


def events_of(source: TabularSource) -> list[dict[str, object]]:
    """The events, each valid under the contract; nothing may be refused."""
    out = []
    for message in source.messages():
        assert isinstance(message, MappedMessage), message
        msgspec.json.decode(message.raw, type=Event)
        out.append(json.loads(message.raw))
    return out


def refused_of(source: TabularSource) -> list[tuple[str, str, str]]:
    return [(m.reason, m.path, m.detail) for m in source.messages() if isinstance(m, RefusedRow)]


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
    assert [(e["event_id"], e.get("reason")) for e in events_of(source)] == [("1-c", "late"), ("1-a", None), ("2-a", None)]
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
    rows = ["1,a,2019-01-01T00:00:00Z", "2,b,1948-01-01T00:00:00Z", "3,b,2019-01-01T00:00:00Z", "4,a,2021-01-01T00:00:00Z"]
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
    mapping = '[table]\ntime = "t"\n' + APPROVED + '\n[[event]]\ntype = "order.cancelled"\ntime = "c"\nset = { order_id = "{order}" }\n'
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
            ("schema", "t", "'2025-01-01' has no offset from UTC and the mapping names no zone (set zone in [table])"),
        ),
        ("order,t\n,2025-01-01T00:00:00Z\n", ("schema", "order", "is empty, and order_id of order.approved is made from it")),
        (b"order,t\n\xff,2025-01-01T00:00:00Z\n", ("transport", "", "has bytes that are not valid in the table's encoding")),
        ("order,t\n" + "x" * 140_000 + ",y\n", ("transport", "", "is not CSV: field larger than field limit (131072)")),
    ],
)
def test_what_is_refused_and_why(tmp_path: Path, table: str | bytes, refused: tuple[str, str, str]) -> None:
    source = source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, table)
    assert refused_of(source) == [refused]
    assert source.rows_read == 1


def test_rows_behind_a_broken_one_are_read(tmp_path: Path) -> None:
    table = "order,t\n" + "x" * 140_000 + ",y\n2,2025-01-01T00:00:00Z\n\n  ,  \n"
    source = source_of(tmp_path, '[table]\ntime = "t"\n' + APPROVED, table)
    assert [type(m) for m in source.messages()] == [RefusedRow, MappedMessage]
    assert (source.rows_read, source.rows_skipped) == (3, 1)  # the row of blanks is skipped, the empty line is none


@pytest.mark.parametrize(
    ("settings_text", "table"),
    [
        ("", b"order,t,x\n1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ("", b"\xef\xbb\xbforder,t,x\n1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ("", b"order,t,x\r\n1,2025-01-01T00:00:00Z,\xc3\xa9,,\r\n"),
        ('delimiter = "tab"', b"order\tt\tx\n1\t2025-01-01T00:00:00Z\t\xc3\xa9\n"),
        ('delimiter = ";"\nquote = "\'"', b"order;t;x\n'1';'2025-01-01T00:00:00Z';'\xc3\xa9'\n"),
        ('encoding = "latin-1"', b"order,t,x\n1,2025-01-01T00:00:00Z,\xe9\n"),
        ('encoding = "utf-16"', "order,t,x\n1,2025-01-01T00:00:00Z,é\n".encode("utf-16")),
        ('columns = ["order", "t", "x"]', b"1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ('columns = ["order", "t", "x"]\nheader = true', b"a,b,c\n1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ("skip_lines = 2", b"Report\n\norder,t,x\n1,2025-01-01T00:00:00Z,\xc3\xa9\n"),
        ("", gzip.compress(b"order,t,x\n1,2025-01-01T00:00:00Z,\xc3\xa9\n")),
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


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("empty.csv", b"", "is empty"),
        ("book.xlsx", b"PK\x03\x04rest", "a zip archive or a spreadsheet"),
        ("cut.csv.gz", gzip.compress(b"order,t\n" + b"1,2025-01-01T00:00:00Z\n" * 999)[:60], "can't be read"),
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
        't.toml:14: event[0].set.reason = "note": is a fixed text here; write "{note}" for the column, '
        'or { const = "note" } if the text is meant',
    ]
    with pytest.raises(SettingsError, match='is delimiter = ";" missing'):
        source_of(tmp_path, mapping, "order;time;note;channel\n")


def test_equal_rows_have_the_same_hash_and_others_not(tmp_path: Path) -> None:
    mapping = '[table]\ntime = "t"\n' + APPROVED.replace("{@row}", "{@hash}")
    row = "1,2025-01-01T00:00:00Z\n"
    ids = [e["event_id"] for e in events_of(source_of(tmp_path, mapping, "order,t\n" + row + row + "2" + row[1:]))]
    assert ids[0] == ids[1] != ids[2]


FIELDS = """
[table]
time = "t"
zone = "UTC"
decimal = ","
thousands = "."
[column.items]
list = true
[column.tags]
separator = "|"
[lookup.reason]
D = "damage"
[link.parent]
key = "items"
value = "order"
[[event]]
type = "{type}"
[event.set]
"""
ROW = {"t": "2025-01-01", "order": "o1", "items": "['i1', 'i2']", "tags": "x| y |", "qty": "-2", "price": "1.234,50", "code": "D", "no": ""}


@pytest.mark.parametrize(
    ("kind", "rules", "made"),
    [
        ("order.approved", 'order_id = "{order}-{code}"', {"order_id": "o1-D"}),
        ("order.approved", 'order_id = "{{{order}}}"', {"order_id": "{o1}"}),
        ("order.approved", 'order_id = "{order}"\nreason = "{order}-{no}"', {"order_id": "o1"}),
        ("order.approved", 'order_id = { columns = ["no", "order"] }', {"order_id": "o1"}),
        ("order.approved", 'order_id = { column = "no", default = "none" }', {"order_id": "none"}),
        ("order.approved", "order_id = { column = \"order\", extract = '\\d', letters = \"upper\" }", {"order_id": "1"}),
        ("order.approved", 'order_id = { column = "order", letters = "upper" }', {"order_id": "O1"}),
        ("order.approved", 'order_id = { column = "items", link = "parent" }', {"order_id": "o1"}),
        ("order.approved", 'order_id = "{items}"\nreason = "{tags}"', {"order_id": "i1", "reason": "x"}),
        ("order.approved", "order_id = 7", {"order_id": "7"}),
        (
            "inventory.adjusted",
            'sku = "{items}"\nnode = "n"\ndelta = "{qty}"\nreason = { column = "code", lookup = "reason", default = "other" }',
            {"sku": "i1", "node": "n", "delta": -2, "reason": "damage"},
        ),
        (
            "return.received",
            'return_id = "r"\norder_id = "{order}"\nqty = { number = "-{qty}" }\namount = { number = "abs({qty}) * {price}" }',
            {"return_id": "r", "order_id": "o1", "qty": 2, "amount": "2469"},
        ),
        (
            "return.received",
            'return_id = "r"\norder_id = "{order}"\namount = { number = "round(({price} + 1) / 3, 2)", default = "9" }',
            {"return_id": "r", "order_id": "o1", "amount": "411.83"},
        ),
        ("promotion.started", 'promotion_id = "p"\nskus = "{tags}"', {"promotion_id": "p", "skus": ["x", "y"]}),
        (
            "promotion.started",
            'promotion_id = "p"\nskus = { column = "items", link = "parent" }',
            {"promotion_id": "p", "skus": ["o1"]},
        ),
        ("promotion.started", 'promotion_id = "p"\nskus = ["a", "b"]', {"promotion_id": "p", "skus": ["a", "b"]}),
        ("price.changed", 'sku = "s"\nprice = "{price}"\ncurrency = "EUR"', {"sku": "s", "price": "1234.50", "currency": "EUR"}),
        ("order.promise_changed", 'order_id = "o"\npromised_at = "{t}"', {"order_id": "o", "promised_at": "2025-01-01T00:00:00Z"}),
        ("queue.depth", 'queue = "q"\ndepth = 1.5', {"queue": "q", "depth": 1.5}),
    ],
)
def test_how_fields_are_filled(tmp_path: Path, kind: str, rules: str, made: dict[str, object]) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, ROW)
    writer.writeheader()
    writer.writerow(ROW)
    (event,) = events_of(source_of(tmp_path, FIELDS.replace("{type}", kind) + rules, out.getvalue()))
    head = {"event_id": "1.1", "type": kind, "source": "s1", "system": "oms", "occurred_at": "2025-01-01T00:00:00Z"}
    assert event == head | made


@pytest.mark.parametrize(
    ("when", "rows"),
    [
        ('when = { a = "x" }', [1, 4]),
        ('when = { a = ["x", "y"] }', [1, 2, 4]),
        ("when = { n = 0 }", [1, 3]),
        ("when = { n = { gt = -1, le = 1.5 } }", [1, 2, 3]),
        ("when = { n = { not = 0 } }", [2, 4]),
        ("when = { a = { present = false } }", [3]),
        ("when = { a = { matches = '^[xy]$' }, n = { eq = 0 } }", [1]),
        ("when = { a = { not = { startswith = \"x\" } } }", [2, 3]),
        ('when_any = [{ a = "y" }, { n = 0 }]', [1, 2, 3]),
        ('when = { a = { contains = "x", endswith = "x" } }\nwhen_any = [{ n = { lt = 0 } }, { n = { ge = 5 } }]', [4]),
    ],
)
def test_filters(tmp_path: Path, when: str, rows: list[int]) -> None:
    mapping = f'[table]\ntime = "t"\nzone = "UTC"\n[[event]]\ntype = "order.approved"\n{when}\nset = {{ order_id = "{{@row}}" }}\n'
    table = "a,n,t\nx,0,2025-01-01\ny,1.5,2025-01-01\n,0.00,2025-01-01\nx,-3,2025-01-01\n"
    assert [int(str(e["order_id"])) for e in events_of(source_of(tmp_path, mapping, table))] == rows


def test_lists_are_taken_apart_along_links(tmp_path: Path) -> None:
    mapping = """
[table]
time = "t"
zone = "UTC"
[column.items]
list = true
[link.order_of_item]
when = { kind = "place" }
key = "items"
value = "order"
[link.items_of_box]
when = { kind = "pack" }
key = "box"
value = "items"
[[event]]
type = "shipment.delivered"
when = { kind = "deliver" }
id = "{box}-{@index}-{@each}"
explode = { column = "box", link = ["items_of_box", "order_of_item"] }
set = { shipment_id = "{box}", order_id = "{@each}" }
"""
    table = """kind,t,order,items,box
place,2025-01-01,A,"[""1"", ""2""]",
place,2025-01-01,B,"['3']",
pack,2025-01-02,,"['3', '1', '2']",x
deliver,2025-01-03,,,x
deliver,2025-01-03,,,unknown
"""
    source = source_of(tmp_path, mapping, table)
    assert [(e["event_id"], e["order_id"]) for e in events_of(source)] == [("x-1-B", "B"), ("x-2-A", "A")]
    assert source.rows_skipped == 4


GROUPED = """
[table]
time = "t"
zone = "UTC"
[[event]]
type = "order.created"
id = "{o}"
group_by = ["o"]
adjacent = ADJACENT
set = { order_id = "{o}", total = { number = "{q} * {p}", sum = true } }
lines = { set = { line_id = "{@row}", sku = "{s}", qty = "{q}", unit_price = "{p}" } }
"""


@given(
    st.lists(
        st.tuples(st.sampled_from("ABCD"), st.integers(0, 3), st.integers(1, 9), st.decimals("0", "99", places=2)), max_size=30
    ),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_groups_equal_a_plain_grouping(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int, int, object]], adjacent: bool
) -> None:
    if adjacent:
        rows = sorted(rows, key=lambda row: row[0])
    table = "o,t,s,q,p\n" + "".join(f"{o},2025-01-0{d + 1},sku,{q},{p}\n" for o, d, q, p in rows)
    mapping = GROUPED.replace("ADJACENT", str(adjacent).lower())
    source = source_of(tmp_path_factory.mktemp("g"), mapping, table)
    made = {str(e["order_id"]): e for e in events_of(source)}
    assert set(made) == {row[0] for row in rows}
    for order, event in made.items():
        mine = [(number, *row[1:]) for number, row in enumerate(rows, 1) if row[0] == order]
        assert event["occurred_at"] == f"2025-01-0{mine[0][1] + 1}T00:00:00Z"
        assert [(line["line_id"], line["qty"]) for line in event["lines"]] == [(str(n), q) for n, _, q, _ in mine]  # type: ignore[attr-defined]
        assert float(str(event["total"])) == pytest.approx(sum(q * float(str(p)) for _, _, q, p in mine))
    assert source.rows_skipped == 0


@given(
    st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=60), st.integers(1, 9), st.integers(0, 70)
)
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
            assert from_us(message.arrival_us).isoformat().replace("+00:00", "Z") == json.loads(message.raw)["occurred_at"]
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
