"""The page's tables."""

from collections.abc import Iterable, Mapping, Sequence

from dataflows.reporting.markup import Child, Markup, joined, tag
from dataflows.reporting.period import Feed, Handoff, Incident, Period, Receiver
from dataflows.reporting.words import NOTHING, count, duration, kind, moment, money, place
from schemas.durations import SECOND_US

_BECAME = {
    "done": "kept",
    "late": "broken",
    "overdue": "broken, still waiting",
    "open": "waiting",
    "cancelled": "cancelled",
}


def incidents(shown: Sequence[Incident]) -> Markup:
    """One line an incident, gravest first; plots and orders lead here."""
    rows = []
    for number, one in enumerate(shown, 1):
        over = one.status if one.closed_us is None else f"{moment(one.closed_us)}"
        lasted = None if one.closed_us is None else (one.closed_us - one.opened_us) / SECOND_US
        cause = one.candidates[0].split(": ", 1)[-1] if one.candidates else ""
        rows.append(
            tag(
                "tr",
                tag("td", tag("span", f"P{one.priority}", class_=f"pill p{one.priority}")),
                tag("td", tag("b", kind(one.kind)), tag("br"), place(one.scope), tag("br"), _under(one.incident_id)),
                tag("td", one.summary, tag("br"), _under(f"Probable cause: {cause}") if cause else None),
                tag("td", moment(one.opened_us), class_="when"),
                tag("td", duration((one.found_us - one.opened_us) / SECOND_US), class_="number"),
                tag("td", over, tag("br"), _under(duration(lasted)) if lasted is not None else None, class_="when"),
                tag("td", f"{one.orders:,}", class_="number"),
                tag("td", money(one.value, one.currency) if one.value else NOTHING, class_="number"),
                id=f"incident-{number}",
            )
        )
    heads = ("", "what and where", "in words", "began", "-found after", "over", "-orders", "-at risk")
    return _table("Incidents, gravest first", heads, rows)


def orders(period: Period, numbers: Mapping[str, int]) -> Markup:
    """The orders that matter most: promises broken first, then those expected to be, then by value."""
    if not period.orders:
        return Markup("")
    rows = []
    for one in period.orders:
        broken = one.promise in ("late", "overdue")
        links: list[Child] = [
            tag("a", f"P{_of(period, name).priority} {kind(_of(period, name).kind)}", href=f"#incident-{numbers[name]}")
            if name in numbers
            else name
            for name in one.incident_ids
        ]
        spaced: list[Child] = [part for link in links for part in (link, ", ")][:-1]
        rows.append(
            tag(
                "tr",
                tag("td", one.order_id, class_="id"),
                tag("td", one.customer_id or NOTHING),
                tag("td", money(one.value, one.currency) if one.value else NOTHING, class_="number"),
                tag("td", moment(one.promised_us), class_="when"),
                tag("td", moment(one.breach_us), class_="when"),
                tag("td", _BECAME.get(one.promise, one.promise or NOTHING), class_="bad" if broken else None),
                tag("td", *spaced),
            )
        )
    heads = ("order", "customer", "-value", "promised", "expected instead", "promise", "incident")
    all_of = period.totals.orders
    words = f"The {len(rows)} that matter most of {all_of:,}" if all_of > len(rows) else count(all_of, "order")
    table = _table(f"{words}: broken promises first, then by value", heads, rows)
    return tag("section", tag("h2", "Orders at risk"), table, id="orders")


def handoffs(shown: Sequence[Handoff]) -> Markup:
    """One line a handoff, least in time first."""
    if not shown:
        return Markup("")
    rows = []
    for one in shown:
        judged = one.in_time + one.late + one.overdue
        share = f"{100 * one.in_time / judged:.1f} %" if judged else NOTHING
        rows.append(
            tag(
                "tr",
                tag("td", kind(one.handoff)),
                tag("td", f"{one.passes:,}", class_="number"),
                tag("td", share, class_="number bad" if judged and one.in_time < 0.95 * judged else "number"),
                tag("td", _number(one.late), class_="number"),
                tag("td", _number(one.overdue), class_="number"),
                tag("td", duration(one.p50_s), class_="number"),
                tag("td", duration(one.p95_s), class_="number"),
            )
        )
    heads = ("handoff", "-passes", "-in time", "-late", "-missing", "-half within", "-95 % within")
    words = "Passes that began in the period. In time: of those whose deadline is over. Missing: overdue, not seen"
    return tag("section", tag("h2", "Handoffs"), _table(words, heads, rows), id="handoffs")


def receivers(shown: Sequence[Receiver]) -> Markup:
    """Who was told how often."""
    if not shown:
        return Markup("")
    rows = [
        tag(
            "tr",
            tag("td", one.receiver),
            tag("td", f"{one.told:,}", class_="number"),
            tag("td", f"{one.incidents:,}", class_="number"),
            tag("td", _number(one.kept_quiet), class_="number"),
        )
        for one in shown
    ]
    heads = ("receiver", "-told", "-incidents", "-kept quiet")
    words = "Kept quiet: silenced, muted, inhibited or acknowledged"
    return tag("section", tag("h2", "Alerts"), _table(words, heads, rows), id="alerts")


def feeds(shown: Sequence[Feed]) -> Markup:
    """What was read, and how old it was."""
    if not shown:
        return Markup("")
    rows = [
        tag(
            "tr",
            tag("td", one.component),
            tag("td", f"{one.events:,}", class_="number"),
            tag("td", _number(one.dead_letters), class_="number bad" if one.dead_letters else "number"),
            tag("td", duration(one.delay_max_s), class_="number"),
        )
        for one in shown
    ]
    heads = ("input", "-events", "-not usable", "-longest delay")
    return tag("section", tag("h2", "Feeds"), _table("By arrival time", heads, rows), id="feeds")


def _of(period: Period, incident_id: str) -> Incident:
    return next(one for one in period.incidents if one.incident_id == incident_id)


def _under(words: str) -> Markup:
    return tag("span", words, class_="under")


def _number(amount: int) -> str:
    return f"{amount:,}" if amount else NOTHING


def _table(caption: str, heads: Iterable[str], rows: Sequence[Markup]) -> Markup:
    """`heads` that begin with `-` stand over figures."""
    columns = [tag("th", head.lstrip("-"), class_="number" if head.startswith("-") else None) for head in heads]
    table = tag("table", tag("caption", caption), tag("thead", tag("tr", joined(columns))), tag("tbody", joined(rows)))
    return tag("div", table, class_="wide")
