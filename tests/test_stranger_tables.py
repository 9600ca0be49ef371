"""Tables as a stranger brings them: what is found is what was put in, and what is wrong is said in words."""

import csv
import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.databases import rows_of
from tests.processes import andon

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class Truth(NamedTuple):
    """What is in a table, by the way it was made."""

    rows: int
    without_event: int
    passes: dict[str, int]
    dead: dict[str, int]
    duplicates: int


WAREHOUSE = """
[mapping]
name = "lager"
source = "wms-muc"
system = "wms"
process_map = "lager_map.toml"

[table]
delimiter = ";"
encoding = "latin-1"
decimal = ","
thousands = "."
formats = ["%d.%m.%Y %H:%M"]
zone = "Europe/Berlin"
null = ["-"]

[lookup.ende]
"30" = "task.completed"
"90" = "task.rejected"

[[event]]
type = "task.queued"
time = "Freigabe"
id = "{Aufgabe}-queued"
[event.set]
task_id = "{Aufgabe}"
task_type = "pick"
node = "{Lagerort}"
qty = "{Menge}"

[[event]]
type = "task.started"
time = "Begonnen"
id = "{Aufgabe}-started"
[event.set]
task_id = "{Aufgabe}"
task_type = "pick"
node = "{Lagerort}"

[[event]]
type = { column = "Status", lookup = "ende" }
time = "Fertig"
id = "{Aufgabe}-ended"
[event.set]
task_id = "{Aufgabe}"
task_type = "pick"
node = "{Lagerort}"
qty = { number = "{Menge} * {Gewicht (kg)}" }
"""
WAREHOUSE_MAP = """
name = "lager"
version = 1

[case.task_id]
begins_with = [{ type = "task.queued" }]

[[handoff]]
name = "pick"
case = "task_id"
start = { type = "task.queued" }
end = { type = "task.completed" }
abandoned_by = [{ type = "task.rejected" }]
scope = "node"
deadline = "2h"
"""


def warehouse(folder: Path) -> Truth:
    """A row a pick task: latin-1, semicolons, local times, `-` for nothing, broken dates, rows that are there twice."""
    rows: list[str] = []

    def task(*, ends: timedelta | None, status: str = "30", queued: str = "") -> None:
        begin = datetime(2025, 12, 31, 8, 0) + 17 * MINUTE * len(rows)  # noqa: DTZ001 - local, as the table has it
        end = "-" if ends is None else f"{begin + ends:%d.%m.%Y %H:%M}"
        shown = queued or f"{begin:%d.%m.%Y %H:%M}"
        rows.append(f"T-{len(rows)};Größe 3;3;1.234,50;{status};{shown};-;{end};MÜNCHEN")

    task(ends=HOUR, queued="31.02.2026 10:00")  # before any row with a time
    for ends, count in ((HOUR, 40), (3 * HOUR, 7), (None, 5), (-20 * MINUTE, 4)):
        for _ in range(count):
            task(ends=ends)
    for _ in range(3):
        task(ends=HOUR, status="90")
    for _ in range(2):
        task(ends=HOUR, status="77")  # a code that nobody knows: it never ends
    for broken in ("00.00.0000 00:00", "2026-01-01"):
        task(ends=HOUR, queued=broken)
    # two hours by the clock on the wall, one by the sun
    rows.append("T-dst;x;1;1,0;30;29.03.2026 01:30;-;29.03.2026 03:30;MÜNCHEN")
    rows += rows[1:9]
    rows.append(";".join(["-"] * 9))
    header = "Aufgabe;Artikel;Menge;Gewicht (kg);Status;Freigabe;Begonnen;Fertig;Lagerort"
    (folder / "table").write_text("\r\n".join([header, *rows, ""]), "latin-1", newline="")
    (folder / "mapping.toml").write_text(WAREHOUSE, "utf-8")
    (folder / "lager_map.toml").write_text(WAREHOUSE_MAP, "utf-8")
    passes = {"done": 41, "late": 7, "overdue": 7, "out_of_sequence": 4, "cancelled": 3}
    return Truth(
        len(rows), 1, {f"pick {status}": count for status, count in passes.items()}, {"schema Freigabe": 3}, 2 * 8
    )


RETURNS = """
[mapping]
name = "tickets"
source = "desk"
system = "crm"
process_map = "returns_map.toml"

[table]
formats = ["epoch_ms"]
time = "ts_ms"
from = "2020-01-01"
to = "2030-01-01"

[lookup.kind]
rma_issued = "return.authorized"
parcel_in = "return.received"

[[event]]
type = { column = "kind", lookup = "kind" }
id = "{@hash}"
[event.set]
return_id = "{shop}-{ticket_no}"
order_id = "O{ticket_no}"
amount = "{amount}"

[[event]]
type = "posting.recorded"
when = { kind = "refund_booked" }
id = "{@hash}"
[event.set]
posting_id = "{shop}-{ticket_no}-{ts_ms}"
posting_type = "refund"
reference = "{shop}-{ticket_no}"
amount = "{amount}"
"""
RETURNS_MAP = """
name = "tickets"
version = 1

[case.return_id]
begins_with = [{ type = "return.authorized" }]

[[handoff]]
name = "receive"
case = "return_id"
start = { type = "return.authorized" }
end = { type = "return.received" }
deadline = "14d"

[[handoff]]
name = "refund"
case = "return_id"
start = { type = "return.received" }
end = { type = "posting.recorded", where = { posting_type = "refund" } }
end_case = "reference"
deadline = "72h"
repeat = "flag_end"
"""


def returns(folder: Path) -> Truth:
    """A row an event, in Parquet: milliseconds, amounts as floats, a case of two columns, kinds of no interest."""
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    begin_ms, hour_ms = 1_767_571_200_000, 3_600_000
    rows: list[dict[str, Any]] = []
    cases = 0

    def event(kind: str, ts_ms: int | None, amount: float | None = None) -> None:
        shop, number = ("fr", "de")[cases % 2], 1000 + cases // 2  # a number is used by both shops
        rows.append({"ts_ms": ts_ms, "kind": kind, "shop": shop, "ticket_no": number, "amount": amount})

    plan = [(30, [48], 0.1 + 0.2), (5, [124], 19.99), (4, [], None), (3, [2], 1e-3), (2, [30, 31], 5.0)]
    plan.append((2, [30], float("nan")))
    for count, refunds, amount in plan:
        for _ in range(count):
            cases += 1
            at = begin_ms + cases * hour_ms
            event("ticket_opened", at - hour_ms)
            event("rma_issued", at, 19.9)
            event("parcel_in", at + 24 * hour_ms)
            for hours in refunds:
                event("refund_booked", at + hours * hour_ms, amount)
    copies = [dict(row) for row in rows if row["kind"] == "parcel_in"][:6]
    for _ in range(3):
        cases += 1
        event("rma_issued", None)
    rows += copies
    rows.sort(key=lambda row: (row["ticket_no"] * 7 % 11, row["kind"]))
    parquet.write_table(arrow.Table.from_pylist(rows), folder / "table")
    (folder / "mapping.toml").write_text(RETURNS, "utf-8")
    (folder / "returns_map.toml").write_text(RETURNS_MAP, "utf-8")
    refunds_found = {"done": 34, "late": 5, "overdue": 4, "out_of_sequence": 3, "duplicate": 2}
    passes = {f"refund {status}": count for status, count in refunds_found.items()} | {"receive done": 46}
    return Truth(len(rows), 46, passes, {"schema ts_ms": 3}, 6)


ORDERS = """
[mapping]
name = "wide"
source = "shop"
system = "ecom"
process_map = "wide_map.toml"

[table]
delimiter = "tab"
time = "ordered_at"

[column.promised]
formats = ["%d/%m/%Y"]
zone = "Europe/Paris"

[column.parcels]
list = true

[[event]]
type = "order.created"
id = "{order_no}-created"
group_by = ["order_no"]
[event.set]
order_id = "{order_no}"
promised_at = "{promised}"
total = { number = "{qty} * {price}", sum = true }
[event.lines.set]
line_id = "{line}"
sku = "{sku}"
qty = "{qty}"
unit_price = "{price}"

[[event]]
type = "shipment.dispatched"
time = "dispatched_at"
explode = "parcels"
when = { line = 1 }
id = "{order_no}-{@each}-dispatched"
[event.set]
order_id = "{order_no}"
shipment_id = "{@each}"

[[event]]
type = "shipment.delivered"
time = "delivered_at"
explode = "parcels"
id = "{order_no}-{@each}-delivered"
[event.set]
order_id = "{order_no}"
shipment_id = "{@each}"
"""
ORDERS_MAP = """
name = "wide"
version = 1

[case.order_id]
begins_with = [{ type = "order.created" }]

[[handoff]]
name = "dispatch"
case = "order_id"
start = { type = "order.created" }
end = { type = "shipment.dispatched" }
deadline = "2d"

[[handoff]]
name = "promise"
case = "order_id"
start = { type = "order.created" }
end = { type = "shipment.delivered" }
deadline_at = { field = "promised_at", plus = "1d" }

[[handoff]]
name = "transport"
case = "order_id"
per = ["shipment_id"]
start = { type = "shipment.dispatched" }
end = { type = "shipment.delivered" }
deadline = "10d"
"""


def orders(folder: Path) -> Truth:
    """A row an order line, with all of the order in each: grouped; parcels as a JSON list, times with offsets."""
    rows: list[tuple[object, ...]] = []
    number = repeated = 0
    plan: list[tuple[int, int, float | None, float | None, int, int]] = [
        # orders, lines, dispatched, delivered and promised after days, parcels
        (20, 2, 1, 3, 6, 2),
        (6, 2, 1, 9, 6, 1),
        (4, 3, None, None, 6, 0),
        (3, 2, 3, 2, 6, 1),
        (2, 2, 1, None, 6, 2),
        (2, 1, 1, 3, 0, 1),
    ]
    for count, lines, dispatched, delivered, promised, parcels in plan:
        for _ in range(count):
            number += 1
            at = datetime(2026, 5, 1, 9, tzinfo=timezone(2 * HOUR)) + 3 * HOUR * number
            sent = "" if dispatched is None else (at + dispatched * DAY).isoformat()
            came = "" if delivered is None else (at + delivered * DAY).astimezone(UTC).isoformat()
            due = f"{at + promised * DAY:%d/%m/%Y}" if promised else ""
            ids = json.dumps([f"P{number}-{parcel}" for parcel in range(parcels)])
            header = (f"{number:06d}", at.isoformat(), due, sent, came, ids)
            rows += [(*header, line, f"SKU{line}", 2, "9.99") for line in range(1, lines + 1)]
            repeated += 0 if delivered is None else (lines - 1) * parcels
    with (folder / "table").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        columns = "order_no,ordered_at,promised,dispatched_at,delivered_at,parcels,line,sku,qty,price"
        file.write(columns.replace(",", "\t") + "\n")
        writer.writerows(rows)
    (folder / "mapping.toml").write_text(ORDERS, "utf-8")
    (folder / "wide_map.toml").write_text(ORDERS_MAP, "utf-8")
    passes = {
        "dispatch done": 30,
        "dispatch late": 3,
        "dispatch overdue": 4,
        "promise done": 25,
        "promise late": 6,
        "promise overdue": 6,
        "transport done": 48,
        "transport out_of_sequence": 3,
        "transport overdue": 4,
    }
    return Truth(len(rows), 0, passes, {}, repeated)


@pytest.mark.parametrize("make", [warehouse, returns, orders])
def test_what_is_in_a_strangers_table_is_found(make: Callable[[Path], Truth], tmp_path: Path) -> None:
    shelf = tmp_path / "elsewhere"  # the mapping names its process map from its own folder
    shelf.mkdir()
    truth = make(shelf)
    done = andon(
        *("replay", "--mapping", "elsewhere/mapping.toml", "elsewhere/table", "--close-at", "end", "--json"),
        cwd=tmp_path,
    )
    assert done.stderr == ""
    summary = json.loads(done.stdout)
    idle = ["event[1] in line 31 (task.started)"] if make is warehouse else []
    assert summary["rows"] == {"read": truth.rows, "without_event": truth.without_event, "idle_rules": idle}
    assert (summary["duplicates"], summary["dead_letters"]) == (truth.duplicates, sum(truth.dead.values()))
    assert summary["messages"] == summary["events"] + summary["dead_letters"]
    assert summary["arrival_begin"] > "2025"
    found = rows_of("SELECT handoff || ' ' || status AS what, count() AS n FROM handoffs GROUP BY what", tmp_path)
    assert {row["what"]: row["n"] for row in found} == truth.passes
    dead = rows_of("SELECT reason || ' ' || path AS what, count() AS n FROM dead_letters GROUP BY what", tmp_path)
    assert {row["what"]: row["n"] for row in dead} == truth.dead
    if make is warehouse:
        across = "SELECT latency_s FROM handoffs WHERE case_id = 'T-dst'"
        assert rows_of(across, tmp_path) == [{"latency_s": 3600.0}]


def _misfit(mapping: str, table: bytes, folder: Path, *options: str) -> tuple[int, str, str]:
    (folder / "m.toml").write_text(mapping, "utf-8")
    (folder / "t.csv").write_bytes(table)
    (folder / "lager_map.toml").write_text(WAREHOUSE_MAP, "utf-8")
    done = andon("replay", "--mapping", "m.toml", "t.csv", *options, cwd=folder, check=False)
    return done.returncode, " ".join(done.stdout.split()), done.stderr


ROWS = """Aufgabe;Artikel;Menge;Gewicht (kg);Status;Freigabe;Begonnen;Fertig;Lagerort
T-1;L\xf6we;1;1,0;30;31.12.2025 08:00;31.12.2025 08:05;31.12.2025 09:00;M1
""".encode("latin-1")
LISTED = "Aufgabe, Artikel, Menge, Gewicht (kg), Status, Freigabe, Begonnen, Fertig, Lagerort"


NONE = (
    "the table t.csv has none of the columns that the mapping names (Freigabe, Aufgabe, Lagerort, Menge, Begonnen, "
    "Status, Fertig, Gewicht (kg)); its columns are: "
)
MISSPELT = (
    "m.toml:24: event[0].id = \"Aufgaben\": did you mean 'Aufgabe'? the table t.csv has no such column; "
    f"its columns are: {LISTED}\n"
)
OTHER_DELIMITER = (
    f'm.toml:9: table.delimiter = ",": {NONE}{LISTED.replace(", ", ";")} '
    '(one column: is delimiter = ";" missing in [table]?)\n'
)
NO_TEXT = f'm.toml:9: table.delimiter = ";": {NONE}\\x00\\x01\\x02\\x03\\x04\\x05\\x06\\x07\\x08\n'
NO_MAP = (
    'm.toml:6: mapping.process_map = "lagermap.toml": must be a file or a shipped process map: bpi2019, default, '
    "epcis, ocel, olist, online_retail, webshop\n"
)


@pytest.mark.parametrize(
    ("mapping", "table", "code", "said"),
    [
        (WAREHOUSE.replace("{Aufgabe}-queued", "{Aufgaben}-queued"), ROWS, 2, MISSPELT),
        (WAREHOUSE.replace('delimiter = ";"', 'delimiter = ","'), ROWS, 2, OTHER_DELIMITER),
        (WAREHOUSE, bytes(range(256)), 2, NO_TEXT),
        (WAREHOUSE, b"", 1, "andon: t.csv: is empty\n"),
        (WAREHOUSE.replace("lager_map", "lagermap"), ROWS, 2, NO_MAP),
    ],
)
def test_what_does_not_fit_is_said_once_and_nothing_beside_it(
    mapping: str, table: bytes, code: int, said: str, tmp_path: Path
) -> None:
    assert _misfit(mapping, table, tmp_path) == (code, "", said)


@pytest.mark.parametrize(
    ("mapping", "table", "said"),
    [
        (
            WAREHOUSE.replace("\nid =", '\nwhen = { Menge = "9" }\nid ='),
            ROWS,
            ["Read 1 rows (1 made no event) as 0 messages", "No row fits a rule of the mapping: check filters"],
        ),
        (
            WAREHOUSE.replace('"30" =', '"31" ='),
            ROWS,
            [
                "Read 1 rows as 2 messages",
                "No row fits these rules: event[2] in line 40 (task.completed, task.rejected)",
            ],
        ),
        (WAREHOUSE, ROWS.splitlines(keepends=True)[0], ["Read 0 rows", "There are no rows in the input."]),
        (
            WAREHOUSE.replace("latin-1", "utf-8").replace("qty =", 'order_id = "{Artikel}"\nqty ='),
            ROWS,
            ["Read 1 rows as 1 messages: 0 events, 1 not usable", "transport 1"],
        ),
    ],
)
def test_input_of_which_nothing_comes_is_no_silent_zero(
    mapping: str, table: bytes, said: list[str], tmp_path: Path
) -> None:
    code, out, err = _misfit(mapping, table, tmp_path)
    assert (code, err) == (0, "")
    for words in said:
        assert words in out
    assert "1970" not in out


def test_a_table_that_is_read_without_a_mapping_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(ROWS)
    out = andon("replay", "t.csv", cwd=tmp_path).stdout
    assert "If it is a table, name its mapping: --mapping." in " ".join(out.split())


def test_a_time_to_close_at_that_is_past_is_told(tmp_path: Path) -> None:
    code, _, err = _misfit(WAREHOUSE, ROWS, tmp_path, "--close-at", "2020-01-01")
    assert code == 0
    assert err == (
        "--close-at 2020-01-01: is not later than the last event (until 2025-12-31T08:01:00Z), and changes nothing\n"
    )


def test_a_packed_table_that_is_cut_off_ends_in_words(tmp_path: Path) -> None:
    code, _, err = _misfit(WAREHOUSE, gzip.compress(ROWS * 200, mtime=0)[:-30], tmp_path)
    assert code == 1
    assert err.endswith(
        "andon: t.csv: can't be read: Compressed file ended before the end-of-stream marker was reached\n"
    )
    assert "Traceback" not in err
