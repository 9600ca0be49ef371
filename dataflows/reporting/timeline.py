"""Incidents on a time line: a bar each, from when it began to when it was over, coloured by priority."""

from collections.abc import Sequence

from dataflows.reporting.axis import WIDTH, TimeAxis
from dataflows.reporting.markup import Markup, joined, tag
from dataflows.reporting.period import Incident
from dataflows.reporting.words import count, cut, duration, kind, moment, money, place
from schemas.durations import SECOND_US

_LEFT = 300
_TOP = 30
_ROW = 34
_BAR = 16


def timeline(incidents: Sequence[Incident], numbers: dict[str, int], begin_us: int, end_us: int, now_us: int) -> Markup:
    """The plot. `numbers` gives the place of an incident in the page's table, where its bar leads to.

    What is open goes on until `now_us`.
    """
    ordered = sorted(incidents, key=lambda one: (one.opened_us, one.incident_id))
    axis = TimeAxis(begin_us, end_us, _LEFT)
    bottom = _TOP + _ROW * len(ordered)
    rows = [
        _row(one, numbers[one.incident_id], axis, _TOP + _ROW * place_, now_us) for place_, one in enumerate(ordered)
    ]
    drawn = tag(
        "svg",
        tag("title", "Incidents on a time line"),
        axis.scale(_TOP, bottom),
        joined(rows),
        viewBox=f"0 0 {WIDTH} {bottom + 8}",
        class_="plot timeline",
        role="img",
    )
    return tag("div", drawn, class_="wide")


def hover(one: Incident) -> str:
    """What a bar says when it is pointed at."""
    over = f"over {moment(one.closed_us)}" if one.closed_us is not None else one.status
    lines = (
        f"P{one.priority} {kind(one.kind)}: {place(one.scope)}",
        f"began {moment(one.opened_us)}, found {moment(one.found_us)}, {over}",
        f"{count(one.orders, 'order')}, {money(one.value, one.currency)}",
        one.summary,
    )
    return "\n".join(lines)


def _row(one: Incident, number: int, axis: TimeAxis, top: float, now_us: int) -> Markup:
    middle = top + _ROW / 2
    begins, found = axis.x(one.opened_us), axis.x(max(one.found_us, one.opened_us))
    ends = axis.x(now_us if one.closed_us is None else one.closed_us)
    width = max(3.0, ends - begins)
    y = middle - _BAR / 2
    parts = [
        tag("rect", x=0, y=f"{top}", width=WIDTH, height=_ROW, class_="lane"),
        tag("text", f"P{one.priority}", x="8", y=f"{middle + 4}", class_=f"badge p{one.priority}"),
        tag("text", cut(kind(one.kind), 34), x="36", y=f"{middle - 3}", class_="name"),
        tag("text", cut(place(one.scope), 44), x="36", y=f"{middle + 11}", class_="where"),
        tag("rect", x=f"{begins}", y=f"{y}", width=f"{width:.1f}", height=_BAR, rx="3", class_=f"bar p{one.priority}"),
    ]
    if found > begins + 1:
        unseen = min(found, ends) - begins
        parts.append(tag("rect", x=f"{begins}", y=f"{y}", width=f"{unseen:.1f}", height=_BAR, rx="3", class_="unseen"))
    if one.closed_us is None:
        points = f"{ends},{y - 3} {ends + 11},{middle} {ends},{y + _BAR + 3}"
        parts.append(tag("polygon", points=points, class_=f"bar p{one.priority}"))
    parts.append(_beside(one, begins, begins + width, middle))
    return tag("a", tag("title", hover(one)), joined(parts), href=f"#incident-{number}", class_="row")


def _beside(one: Incident, begins: float, ends: float, middle: float) -> Markup:
    lasted = None if one.closed_us is None else duration((one.closed_us - one.opened_us) / SECOND_US)
    facts = (
        lasted or one.status,
        count(one.orders, "order") if one.orders else "",
        money(one.value, one.currency) if one.value else "",
    )
    said = " · ".join(fact for fact in facts if fact)
    room = 6.4 * len(said)
    y = f"{middle + 4}"
    if ends + 16 + room < WIDTH:
        x, anchor, style = ends + (16 if one.closed_us is None else 6), "start", "fact"
    elif begins - 6 - room > _LEFT:
        x, anchor, style = begins - 6, "end", "fact"
    else:
        x, anchor, style = begins + 8, "start", "fact inside"
    return tag("text", said, x=f"{x:.1f}", y=y, text_anchor=anchor, class_=style)
