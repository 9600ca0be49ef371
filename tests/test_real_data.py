"""Real logs that nobody here wrote, through the command line into the views: the counts that are known of them."""

from pathlib import Path

import pytest

from tests.databases import fingerprints, rows_of
from tests.processes import andon

pytestmark = pytest.mark.usefixtures("shared_data")


def replay(shared_data: Path, mapping: str, file: str, cwd: Path) -> None:
    andon("replay", "--mapping", mapping, str(shared_data / file), "--close-at", "end", cwd=cwd)


def statuses(cwd: Path) -> dict[tuple[str, str], int]:
    rows = rows_of("SELECT handoff, status, uniqExact(case_id) AS n FROM handoffs GROUP BY handoff, status", cwd)
    return {(str(row["handoff"]), str(row["status"])): int(str(row["n"])) for row in rows}


def signals(cwd: Path) -> dict[str, int]:
    return {
        str(row["kind"]): int(str(row["n"]))
        for row in rows_of("SELECT kind, count() AS n FROM signals GROUP BY kind", cwd)
    }


@pytest.fixture(scope="module")
def olist(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where it was replayed to."""
    folder = tmp_path_factory.mktemp("olist")
    replay(shared_data, "olist", "olist/orders.csv.gz", folder)
    return folder


def test_olist(olist: Path) -> None:
    found = statuses(olist)
    assert found["carrier_handover", "out_of_sequence"] == 74, "handed to the carrier before approval"
    assert found["dispatch", "out_of_sequence"] == 12, "handed to the carrier before purchase"
    assert found["delivery_promise", "late"] == 392, "delivered after the promise"
    assert found["payment_approval", "overdue"] == 10, "approval missing"
    assert found["dispatch", "overdue"] == 78, "hand-over missing"
    assert found["delivery_promise", "overdue"] == 142, "delivery missing"
    assert found["payment_approval", "late"] == 902, "approved later than 24 h"
    assert found["carrier_handover", "late"] == 723, "handed over later than 5 days after approval"
    assert ("last_mile", "out_of_sequence") not in found, "delivered before carrier"


def test_what_is_open_stays_open_without_close_at(shared_data: Path, tmp_path: Path) -> None:
    andon("replay", "--mapping", "olist", str(shared_data / "olist/orders.csv.gz"), cwd=tmp_path)
    found = statuses(tmp_path)
    assert found["delivery_promise", "late"] == 392
    assert found["delivery_promise", "overdue"] + found.get(("delivery_promise", "open"), 0) == 142
    assert found["delivery_promise", "open"] > 0


def test_bpi_2019(shared_data: Path, tmp_path: Path) -> None:
    replay(shared_data, "bpi2019", "bpi2019/p2p_events.csv.gz", tmp_path)
    found = statuses(tmp_path)
    assert found["receipt_to_invoice", "out_of_sequence"] == 548, "invoice before goods receipt"
    assert found["invoice_to_clearing", "out_of_sequence"] == 12, "cleared before invoice"
    assert found["receipt_to_invoice", "overdue"] == 1119, "receipts never invoiced"
    assert found["receipt_to_invoice", "late"] == 1034, "invoices more than 30 days late"
    refused = rows_of(
        "SELECT reason, path, count() AS n, uniqExact(offset) AS rows FROM dead_letters GROUP BY ALL", tmp_path
    )
    assert refused == [{"reason": "rule", "path": "time:timestamp", "n": 68, "rows": 68}]
    first = rows_of("SELECT min(started_at) AS first FROM handoffs", tmp_path)[0]["first"]
    assert str(first) >= "2018-01-01", "bad clocks bend nobody's time"


def test_online_retail(shared_data: Path, tmp_path: Path) -> None:
    replay(shared_data, "online_retail", "online_retail/lines.csv.gz", tmp_path)
    assert rows_of("SELECT count() AS n FROM duplicate_events", tmp_path) == [{"n": 975}]
    found = statuses(tmp_path)
    assert sum(n for (handoff, _), n in found.items() if handoff == "return_refund") == 805, "cancellations as returns"


def test_ocel(shared_data: Path, tmp_path: Path) -> None:
    replay(shared_data, "ocel", "ocel/order_management.csv.gz", tmp_path)
    found, said = statuses(tmp_path), signals(tmp_path)
    waits = {status: n for (handoff, status), n in found.items() if handoff == "out_of_stock_wait"}
    assert sum(waits.values()) == 1664
    assert said["out_of_stock"] == 1664
    assert said["delivery_failed"] == 391
    assert "out_of_sequence" not in said


def test_replaying_twice_changes_no_view(shared_data: Path, olist: Path) -> None:
    once = fingerprints(olist)
    replay(shared_data, "olist", "olist/orders.csv.gz", olist)
    assert fingerprints(olist) == once
