"""What the views say of a period, for one page: incidents, money over time, latency by node and time, tables.

A period is [begin, end) of event time; an incident belongs to it when it was open at any time in it. All is asked
of the public views. Memory: the queries cut tables off (the page says of how many), and the steps bound the plots.
"""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from dataflows.reporting import questions
from dataflows.reporting.steps import Steps
from schemas.durations import people_time
from schemas.errors import StoreRefused
from sinks.clickhouse.store import Store

MOST_INCIDENTS = 60
MOST_ORDERS = 25
MOST_NODES = 40


class Incident(msgspec.Struct, frozen=True):
    """One incident, as it stands. Times in microseconds; `closed_us` is None while it is open."""

    incident_id: str
    status: str
    kind: str
    scope: dict[str, str]
    severity: str
    priority: int
    opened_us: int
    found_us: int
    closed_us: int | None
    signals: int
    orders: int
    customers: int
    promises: int
    value: float
    currency: str
    summary: str
    candidates: list[str]


class Order(msgspec.Struct, frozen=True):
    """An order that incidents of the period touch; `promise` is what became of it, empty where not known."""

    order_id: str
    customer_id: str
    value: float
    currency: str
    promised_us: int | None
    breach_us: int | None
    incident_ids: list[str]
    promise: str


class Handoff(msgspec.Struct, frozen=True):
    """One handoff's passes that began in the period; latencies in seconds."""

    handoff: str
    passes: int
    in_time: int
    late: int
    overdue: int
    p50_s: float | None
    p95_s: float | None


class Cell(msgspec.Struct, frozen=True):
    """One handoff at one node in one step of the period; `p95_s` is None where nothing was completed."""

    handoff: str
    node: str
    step: int
    completed: int
    overdue: int
    p95_s: float | None


class Money(msgspec.Struct, frozen=True):
    """What was at risk at one step's begin: orders, and stock that an incident is about beside them.

    The step after the last one is the end of the period.
    """

    currency: str
    step: int
    orders: int
    value: float


class Receiver(msgspec.Struct, frozen=True):
    """What one receiver was told of the period, and spared."""

    receiver: str
    told: int
    incidents: int
    kept_quiet: int


class Feed(msgspec.Struct, frozen=True):
    """One input in the period; the delay in seconds."""

    component: str
    events: int
    dead_letters: int
    delay_max_s: float


class Totals(msgspec.Struct, frozen=True):
    """Figures over all incidents of the period, not only over those shown. An order counts once.

    `values` are by currency, `detect_s` and `recover_s` means, None without an incident (that is over).
    """

    incidents: int
    open: int
    orders: int
    values: dict[str, float]
    detect_s: float | None
    recover_s: float | None
    promises_broken: int
    promises_kept: int


class Period(msgspec.Struct, frozen=True):
    """All that the page shows. `now_us` is where the data ends: what is open is known to be so until then."""

    database: str
    now_us: int
    steps: Steps
    money_steps: Steps
    totals: Totals
    incidents: tuple[Incident, ...]
    orders: tuple[Order, ...]
    handoffs: tuple[Handoff, ...]
    cells: tuple[Cell, ...]
    money: tuple[Money, ...]
    receivers: tuple[Receiver, ...]
    feeds: tuple[Feed, ...]


#: What is asked, one after the other: progress counts them.
QUESTIONS = 8


def span(store: Store) -> tuple[int, int] | None:
    """From when to when there is anything, microseconds; None in an empty database."""
    begin, end, rows = store.query(questions.SPAN).rows[0]
    return (begin, end) if rows else None


def work_end(store: Store) -> int | None:
    """Until when there was work, microseconds; where there was none, until when there is anything."""
    end, rows = store.query(questions.WORK_END).rows[0]
    whole = None if rows else span(store)
    return end if rows else whole and whole[1]


def read(store: Store, begin_us: int, end_us: int, told: Callable[[float], None]) -> Period:
    """Ask for everything; `told` hears the share that is done.

    Raises:
        StoreRefused: there is nothing in the period.
        StoreError: the store can't be reached or has no schema.
    """
    whole = span(store)
    if whole is None:
        raise StoreRefused(f"{store.target} is empty: `andon replay` or `andon run` fills it")
    if end_us <= whole[0] or begin_us >= whole[1]:
        asked = f"{people_time(begin_us)} to {people_time(end_us)}"
        raise StoreRefused(
            f"there is nothing from {asked}; the database has {people_time(whole[0])} to {people_time(whole[1])}"
        )
    steps = Steps.over(begin_us, end_us, most=36)
    money_steps = Steps.over(begin_us, end_us, most=144)
    asked_so_far = 0

    def rows(sql: str, over: Steps = steps, **more: object) -> Sequence[tuple[Any, ...]]:
        nonlocal asked_so_far
        parameters = {
            "begin": begin_us,
            "end": end_us,
            "now": whole[1],
            "first": over.first_us,
            "step": over.step_us,
            "steps": over.count,
            **more,
        }
        found = store.query(sql, parameters).rows
        asked_so_far += 1
        told(asked_so_far / QUESTIONS)
        return found

    return Period(
        database=str(store.target),
        now_us=whole[1],
        steps=steps,
        money_steps=money_steps,
        totals=Totals(*rows(questions.TOTALS)[0]),
        incidents=tuple(Incident(*row) for row in rows(questions.INCIDENTS, most=MOST_INCIDENTS)),
        orders=tuple(Order(*row) for row in rows(questions.ORDERS, most=MOST_ORDERS)),
        handoffs=tuple(Handoff(*row) for row in rows(questions.HANDOFFS)),
        cells=tuple(Cell(*row) for row in rows(questions.CELLS)),
        money=tuple(Money(*row) for row in rows(questions.MONEY, money_steps)),
        receivers=tuple(Receiver(*row) for row in rows(questions.RECEIVERS)),
        feeds=tuple(Feed(*row) for row in rows(questions.FEEDS)),
    )
