"""How a rule fills the fields of its events: values, filters, lists, links and groups."""

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.adapters.fields import number_normaliser
from tests.mapped_tables import events_of, source_of

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
[lookup.fee]
D = "4.50"
[link.parent]
key = "items"
value = "order"
[[event]]
type = "{type}"
[event.set]
"""
ROW = {
    "t": "2025-01-01",
    "order": "o1",
    "items": "['i1', 'i2']",
    "tags": "x| y |",
    "qty": "-2",
    "price": "1.234,50",
    "code": "D",
    "no": "",
}


@pytest.mark.parametrize(
    ("kind", "rules", "made"),
    [
        ("order.approved", 'order_id = "{order}-{code}"', {"order_id": "o1-D"}),
        ("order.approved", 'order_id = "{{{order}}}"', {"order_id": "{o1}"}),
        ("order.approved", 'order_id = "{order}"\nreason = "{order}-{no}"', {"order_id": "o1"}),
        ("order.approved", 'order_id = { columns = ["no", "order"] }', {"order_id": "o1"}),
        ("order.approved", 'order_id = { column = "no", default = "none" }', {"order_id": "none"}),
        (
            "order.approved",
            'order_id = { column = "order", extract = \'\\d\', letters = "upper" }',
            {"order_id": "1"},
        ),
        ("order.approved", 'order_id = { column = "order", letters = "upper" }', {"order_id": "O1"}),
        ("order.approved", 'order_id = { column = "items", link = "parent" }', {"order_id": "o1"}),
        ("order.approved", 'order_id = "{items}"\nreason = "{tags}"', {"order_id": "i1", "reason": "x"}),
        ("order.approved", "order_id = 7", {"order_id": "7"}),
        (
            "inventory.adjusted",
            (
                'sku = "{items}"\nnode = "n"\ndelta = "{qty}"\n'
                'reason = { column = "code", lookup = "reason", default = "other" }'
            ),
            {"sku": "i1", "node": "n", "delta": -2, "reason": "damage"},
        ),
        (
            "return.received",
            (
                'return_id = "r"\norder_id = "{order}"\n'
                'qty = { number = "-{qty}" }\namount = { number = "abs({qty}) * {price}" }'
            ),
            {"return_id": "r", "order_id": "o1", "qty": 2, "amount": "2469"},
        ),
        (
            "return.received",
            (
                'return_id = "r"\norder_id = "{order}"\n'
                'amount = { number = "round(({price} + 1) / 3, 2)", default = "9" }'
            ),
            {"return_id": "r", "order_id": "o1", "amount": "411.83"},
        ),
        (
            "promotion.started",
            'promotion_id = "p"\nskus = "{tags}"',
            {"promotion_id": "p", "skus": ["x", "y"]},
        ),
        (
            "promotion.started",
            'promotion_id = "p"\nskus = { column = "items", link = "parent" }',
            {"promotion_id": "p", "skus": ["o1"]},
        ),
        (
            "promotion.started",
            'promotion_id = "p"\nskus = ["a", "b"]',
            {"promotion_id": "p", "skus": ["a", "b"]},
        ),
        (
            "price.changed",
            'sku = "s"\nprice = "{price}"\ncurrency = "EUR"',
            {"sku": "s", "price": "1234.50", "currency": "EUR"},
        ),
        (
            "order.promise_changed",
            'order_id = "o"\npromised_at = "{t}"',
            {"order_id": "o", "promised_at": "2025-01-01T00:00:00Z"},
        ),
        ("queue.depth", 'queue = "q"\ndepth = 1.5', {"queue": "q", "depth": 1.5}),
        ("queue.depth", 'queue = "q"\ndepth = { column = "no", default = 1.5 }', {"queue": "q", "depth": 1.5}),
        (
            "return.received",
            'return_id = "r"\norder_id = "o"\namount = { column = "code", lookup = "fee" }',
            {"return_id": "r", "order_id": "o", "amount": "4.50"},
        ),
        (
            "return.received",
            'return_id = "r"\norder_id = "o"\namount = { columns = ["no", "price"], default = "2.50" }',
            {"return_id": "r", "order_id": "o", "amount": "1234.50"},
        ),
    ],
)
def test_how_fields_are_filled(tmp_path: Path, kind: str, rules: str, made: dict[str, object]) -> None:
    out = io.StringIO()
    writer = csv.DictWriter(out, ROW)
    writer.writeheader()
    writer.writerow(ROW)
    (event,) = events_of(source_of(tmp_path, FIELDS.replace("{type}", kind) + rules, out.getvalue()))
    head = {
        "event_id": "t.csv.1.1",
        "type": kind,
        "source": "s1",
        "system": "oms",
        "occurred_at": "2025-01-01T00:00:00Z",
    }
    assert event == head | made


@pytest.mark.parametrize(
    ("settings_", "text", "read"),
    [
        ((",", ""), "-12,50", "-12.50"),
        ((",", ""), ",5", ".5"),
        ((",", ""), "1.000", None),
        ((",", "."), "1.149.000,50", "1149000.50"),
        ((",", "."), "1149,50", "1149.50"),
        ((",", "."), "19.90", None),
        ((",", "."), "0.125", None),
        ((",", "."), "1,234.50", None),
        ((",", "."), "1..149", None),
        ((".", ","), "1,00,000.5", "100000.5"),
        ((".", ","), "12,50", None),
        ((".", "'"), "1'149.00", "1149.00"),
        ((".", " "), "-1 149", "-1149"),
    ],
)
def test_a_sign_where_a_number_can_not_have_it_is_not_read_over(
    settings_: tuple[str, str], text: str, read: str | None
) -> None:
    normalise = number_normaliser(*settings_)
    if read is None:
        with pytest.raises(
            ValueError, match=re.escape(f'{text!r} is not a number written with decimal = "{settings_[0]}"')
        ):
            normalise(text)
    else:
        assert normalise(text) == read


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
        ('when = { a = { not = { startswith = "x" } } }', [2, 3]),
        ('when_any = [{ a = "y" }, { n = 0 }]', [1, 2, 3]),
        ('when = { a = { contains = "x" } }\nwhen_any = [{ n = { lt = 0 } }, { n = { ge = 5 } }]', [4]),
        ("when = { a = { endswith = 'x' } }", [1, 4]),
    ],
)
def test_filters(tmp_path: Path, when: str, rows: list[int]) -> None:
    head = '[table]\ntime = "t"\nzone = "UTC"\n[[event]]\ntype = "order.approved"\n'
    mapping = head + when + '\nset = { order_id = "{@row}" }\n'
    table = "a,n,t\nx,0,2025-01-01\ny,1.5,2025-01-01\n,0.00,2025-01-01\nx,-3,2025-01-01\n"
    assert [int(str(e["order_id"])) for e in events_of(source_of(tmp_path, mapping, table))] == rows


def test_the_entries_of_a_list_are_what_is_written_there(tmp_path: Path) -> None:
    rule = FIELDS.replace("{type}", "promotion.started") + 'promotion_id = "p"\nskus = "{items}"\n'
    written = r"""[9400110200881234567890, "9400110200881234567890", 1.10, -1, true, null, "\u00e9", " x ", ""]"""
    table = io.StringIO()
    csv.writer(table).writerows([list(ROW), [written if name == "items" else text for name, text in ROW.items()]])
    (event,) = events_of(source_of(tmp_path, rule, table.getvalue()))
    assert event["skus"] == ["9400110200881234567890"] * 2 + ["1.10", "-1", "true", "é", "x"]


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
        st.tuples(st.sampled_from("ABCD"), st.integers(0, 3), st.integers(1, 9), st.decimals("0", "99", places=2)),
        max_size=30,
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
