"""The page itself: one HTML file, nothing loaded from anywhere, no script.

A policy in its head forbids both to the browser, too, so that a name in the data could not do it even if it got through
the escaping.
"""

from dataflows.reporting import tables
from dataflows.reporting.heat import heat_plot, legend, maps
from dataflows.reporting.markup import Child, Markup, joined, tag
from dataflows.reporting.money import currencies, money_plot, peak
from dataflows.reporting.period import MOST_NODES, Period
from dataflows.reporting.style import CSS
from dataflows.reporting.timeline import timeline
from dataflows.reporting.words import NOTHING, count, day, duration, kind, moment, money, most_and_rest
from schemas.durations import people_duration

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def page(period: Period) -> str:
    """The report as HTML. The same data give the same bytes."""
    steps = period.steps
    title = f"Andon: {day(steps.begin_us)} to {day(steps.end_us)}"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(CSS)),
    )
    body = tag(
        "body",
        tag("h1", "Where the work broke down"),
        tag(
            "p",
            f"{day(steps.begin_us)} to {day(steps.end_us)} UTC ({people_duration(steps.end_us - steps.begin_us)})",
            class_="soft",
        ),
        _cards(period),
        _incidents(period),
        _money(period),
        tables.orders(period, _numbers(period)),
        _heat(period),
        tables.handoffs(period.handoffs),
        tables.receivers(period.receivers),
        tables.feeds(period.feeds),
        tag("footer", f"Made by andon report from {period.database}. Times are UTC.", class_="soft"),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _numbers(period: Period) -> dict[str, int]:
    return {one.incident_id: number for number, one in enumerate(period.incidents, 1)}


def _cards(period: Period) -> Markup:
    totals = period.totals
    judged = sum(one.in_time + one.late + one.overdue for one in period.handoffs)
    in_time = sum(one.in_time for one in period.handoffs)
    rejected = sum(feed.dead_letters for feed in period.feeds)
    open_now = f"{totals.open:,} still open" if totals.open else "all over" if totals.incidents else "nothing found"
    promises = totals.promises_broken + totals.promises_kept
    most, rest = most_and_rest(totals.values)
    cards = (
        (f"{totals.incidents:,}", "incident" if totals.incidents == 1 else "incidents", open_now),
        (f"{totals.orders:,}", "orders touched", f"{totals.promises_broken:,} of {promises:,} promises broken"),
        (most, "at risk", f"and {rest}" if rest else "each order counted once"),
        (duration(totals.detect_s), "to detect", "mean, from the first sign"),
        (duration(totals.recover_s), "to recover", "mean, of those that are over"),
        (
            f"{100 * in_time / judged:.1f} %" if judged else NOTHING,
            "handoffs in time",
            f"of {judged:,} with a deadline",
        ),
        (f"{rejected:,}", "messages not usable", f"of {sum(f.events + f.dead_letters for f in period.feeds):,}"),
    )
    drawn = [tag("div", tag("b", figure), what, tag("span", beside), class_="card") for figure, what, beside in cards]
    return tag("div", joined(drawn), class_="cards")


def _section(name: str, title: str, *children: Child) -> Markup:
    return tag("section", tag("h2", title), *children, id=name)


def _incidents(period: Period) -> Markup:
    if not period.incidents:
        return _section("incidents", "Incidents", tag("p", "No incident was open in this period.", class_="good"))
    all_of = period.totals.incidents
    most = f" The {len(period.incidents)} gravest of {all_of:,} are shown." if all_of > len(period.incidents) else ""
    key = joined(
        tag("span", tag("span", class_=f"swatch p{priority}"), f"priority {priority}", class_="key")
        for priority in sorted({one.priority for one in period.incidents})
    )
    steps = period.steps
    return _section(
        "incidents",
        "Incidents",
        tag(
            "p",
            key,
            "Pale: before it was found. Arrow: not over yet. A bar leads to its line below.",
            most,
            class_="legend",
        ),
        timeline(period.incidents, _numbers(period), steps.begin_us, steps.end_us, period.now_us),
        tables.incidents(period.incidents),
    )


def _money(period: Period) -> Markup:
    title = "Money at risk"
    if not period.money:
        too_short = any(period.totals.values.values())
        words = (
            "What was at risk was over too soon to be drawn."
            if too_short
            else "No incident of this period is about money."
        )
        return _section("money", title, tag("p", words, class_="soft"))
    parts: list[Child] = [
        tag(
            "p",
            "What the orders that an incident touched come to, while it lasted, and stock that systems disagree on.",
            class_="legend",
        )
    ]
    looked_at = [*period.money_steps.begins(), period.money_steps.end_us]
    for currency in currencies(period.money):
        most = peak(period.money, currency)
        of = f" in {count(most.orders, 'order')}" if most.orders else ""
        words = f"{money(most.value, currency)}{of} at {moment(looked_at[most.step])}"
        parts.append(tag("h3", f"{currency or 'Without currency'}: at most {words}"))
        parts.append(money_plot(period.money, currency, period.money_steps))
    return _section("money", title, *parts)


def _heat(period: Period) -> Markup:
    title = "Handoff latency by node and time"
    drawn: list[Child] = []
    every = maps(period.cells, MOST_NODES)
    quiet = [one for one in every if not one.unusual]
    for one in every:
        if one in quiet:
            continue
        shown = f" (the worst {MOST_NODES} of {one.nodes:,} nodes)" if one.nodes > MOST_NODES else ""
        drawn += (tag("h3", kind(one.handoff) + shown), legend(one.usual_s), heat_plot(one, period.steps))
    if quiet:
        names = ", ".join(f"{kind(one.handoff).lower()} (95 % within {duration(one.usual_s)})" for one in quiet)
        drawn.append(tag("p", f"As usual at every node, all the time: {names}.", class_="good"))
    if not drawn:
        drawn.append(tag("p", "No handoff of a node was completed in this period.", class_="soft"))
    return _section("latency", title, *drawn)
