"""Where things stand in the picture of a process map: a lane for each kind of case, read from left to right.

Columns are shared by all lanes, so the gaps between columns are free of boxes from top to bottom; between the
rows of boxes are channels. An edge that can't go straight turns only in gaps and channels: no line crosses a
box. A lane with more than `FOLD` steps in a row goes on below, like text. Lengths are in pixels.
"""

import unicodedata
from collections.abc import Iterable

import msgspec

from operators.process_edges import (
    Edge,
    case_words,
    cases_of,
    due_words,
    edges_of,
    event_words,
    name_words,
    reaches,
)
from operators.process_map import Handoff, ProcessMap

PAD, LINE, STRIPE = 12, 17, 5
MARGIN, HEADER, TOP = 28, 40, 96
ROW_GAP, LANE_GAP, CHANNEL, TRACK, GAP = 22, 20, 12, 9, 34
MAX_TEXT = 400
FOLD = 5
SIZES = {"title": 14.0, "name": 11.5, "event": 12.0, "due": 12.0, "lane": 15.0, "note": 12.0, "heading": 22.0}
_NARROW, _WIDE = frozenset("iljI.,:;'|!()[] tfr-·"), frozenset("mwMWQ@%…→")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """About how wide a text is in the widest of the fonts asked for; rather too wide than too narrow."""
    em = 0.0
    for char in text:
        if unicodedata.east_asian_width(char) in "WF":
            em += 1.05
        elif char in _NARROW:
            em += 0.4
        elif char in _WIDE:
            em += 1.0
        else:
            em += 0.73 if char.isupper() else 0.64
    return em * size * (1.1 if bold else 1.0)


def clipped(text: str, size: float, *, bold: bool = False) -> str:
    """`text`, or as much of it as a box may hold."""
    if text_width(text, size, bold=bold) <= MAX_TEXT:
        return text
    while text and text_width(text + "…", size, bold=bold) > MAX_TEXT:
        text = text[:-1]
    return text + "…"


_ASIDE = {"depends": -12.0, "then": -12.0, "requires": 14.0}


class Box(msgspec.Struct):
    """A handoff: its place, and its lines as (text, style)."""

    handoff: Handoff
    lines: list[tuple[str, str]]
    column: int = 0
    row: int = 0
    x: float = 0
    y: float = 0
    width: float = 0
    height: float = 0

    @property
    def middle(self) -> float:
        """The height at which edges come and go."""
        return self.y + self.height / 2


class Lane(msgspec.Struct):
    """A kind of case: its boxes, and how many channels there are above each row and below the last."""

    title: str
    note: str
    boxes: list[Box]
    channels: list[int] = []
    tops: list[float] = []
    y: float = 0
    height: float = 0

    @property
    def rows(self) -> int:
        """How many rows its boxes take."""
        return 1 + max(box.row for box in self.boxes)


class Route(msgspec.Struct):
    """An edge and the corners of its line."""

    edge: Edge
    corners: list[tuple[float, float]]


class Layout(msgspec.Struct):
    """The whole picture; `bottom` is where the lanes end."""

    lanes: list[Lane]
    routes: list[Route]
    width: float
    bottom: float


class _Plan(msgspec.Struct):
    """How an edge goes: it turns in the gaps before columns `out` and `into` (None: not there).

    `channel` that it runs along in between: lane, above which row, its number there; None when it needs none.
    """

    edge: Edge
    out: int | None
    into: int | None
    channel: tuple[int, int, int] | None = None


def layout(process: ProcessMap) -> Layout:
    """Place every handoff and every edge. Cost: about the square of the handoffs."""
    edges = edges_of(process)
    lanes = [_lane(process, case, edges) for case in cases_of(process)]
    place = {box.handoff.name: (number, box) for number, lane in enumerate(lanes) for box in lane.boxes}
    plans = _plan(edges, lanes, place)
    columns = 1 + max((box.column for _, box in place.values()), default=0)
    tracks = _tracks(plans)
    turns = [sum(1 for gap, _ in tracks if gap == column) for column in range(columns + 1)]
    gaps = [float(GAP + TRACK * n) for n in turns]
    gaps[0] = gaps[0] if turns[0] else float(PAD)
    lefts = _set_columns(lanes, columns, gaps)
    bottom = _set_rows(lanes)
    routes = [
        Route(plan.edge, _corners(plan, lanes=lanes, place=place, tracks=tracks, lefts=lefts, gaps=gaps))
        for plan in plans
    ]
    width = max([lefts[-1] + MARGIN, 720.0, *(2 * MARGIN + _header_width(lane) for lane in lanes)])
    return Layout(lanes, routes, width, bottom)


# --- columns and rows --------------------------------------------------------------------------------------


def _box(handoff: Handoff) -> Box:
    title = handoff.title or handoff.name
    start, end, given_up = event_words(handoff)
    events = [f"from {start}", f"to {end}", *([f"or given up at {given_up}"] if given_up else [])]
    lines = [
        (clipped(title, SIZES["title"], bold=True), "title"),
        (clipped(name_words(handoff), SIZES["name"]), "name"),
        *((clipped(text, SIZES["event"]), "event") for text in events),
        (clipped(due_words(handoff), SIZES["due"], bold=True), "due"),
    ]
    return Box(handoff, lines)


def line_width(line: tuple[str, str]) -> float:
    """About how wide a line of a box is."""
    return text_width(line[0], SIZES[line[1]], bold=line[1] in ("title", "due"))


def _header_width(lane: Lane) -> float:
    return text_width(lane.title, SIZES["lane"], bold=True) + text_width(lane.note, SIZES["note"]) + 3 * PAD


def _lane(process: ProcessMap, case: str, edges: list[Edge]) -> Lane:
    """Columns by the longest way to a handoff within its lane, rows near those it comes from."""
    boxes = {handoff.name: _box(handoff) for handoff in process.handoff if handoff.case == case}
    before: dict[str, list[str]] = {name: [] for name in boxes}
    after: dict[str, list[str]] = {}
    for edge in edges:
        if edge.start in boxes and edge.end in boxes and not reaches(after, edge.end, edge.start):
            before[edge.end].append(edge.start)
            after.setdefault(edge.start, []).append(edge.end)
    ranks: dict[str, int] = {}
    for name, box in boxes.items():
        box.column = _rank(name, before, ranks)
    connected = [box for name, box in boxes.items() if before[name] or name in after]
    _assign_rows(connected, boxes, before)
    rows = _fold(connected)
    alone = [box for name, box in boxes.items() if not before[name] and name not in after]
    for index, box in enumerate(alone):
        box.row, box.column = rows + index // FOLD, index % FOLD
    title, note = case_words(process, case)
    lane = Lane(title, note, list(boxes.values()))
    lane.channels = [0] * (lane.rows + 1)
    return lane


def _fold(connected: list[Box]) -> int:
    """Break long rows into bands, one below the other; how many rows there are then."""
    longest = 1 + max((box.column for box in connected), default=-1)
    bands = -(-longest // FOLD)
    rows = 0
    if bands:
        across = -(-longest // bands)
        for here in [[box for box in connected if box.column // across == band] for band in range(bands)]:
            top = min(box.row for box in here)
            for box in here:
                box.row, box.column = rows + box.row - top, box.column % across
            rows = 1 + max(box.row for box in here)
    return rows


def _rank(name: str, before: dict[str, list[str]], known: dict[str, int]) -> int:
    if name not in known:
        known[name] = 1 + max((_rank(other, before, known) for other in before[name]), default=-1)
    return known[name]


def _assign_rows(connected: list[Box], boxes: dict[str, Box], before: dict[str, list[str]]) -> None:
    taken: set[tuple[int, int]] = set()
    for column in range(1 + max((box.column for box in connected), default=-1)):
        here = [box for box in connected if box.column == column]
        wanted = {box.handoff.name: _wanted_row(box, boxes, before) for box in here}
        for box in sorted(here, key=lambda box: wanted[box.handoff.name]):
            row = wanted[box.handoff.name]
            while (column, row) in taken:
                row += 1
            box.row = row
            taken.add((column, row))


def _wanted_row(box: Box, boxes: dict[str, Box], before: dict[str, list[str]]) -> int:
    return min((boxes[other].row for other in before[box.handoff.name]), default=0)


def _set_columns(lanes: Iterable[Lane], columns: int, gaps: list[float]) -> list[float]:
    """Give boxes their x and width; the left of each column, and the right of the last gap."""
    widths = [160.0] * columns
    for lane in lanes:
        for box in lane.boxes:
            widest = max(line_width(line) for line in box.lines)
            widths[box.column] = max(widths[box.column], STRIPE + 2 * PAD + widest)
    lefts, x = [], float(MARGIN)
    for column in range(columns):
        x += gaps[column]
        lefts.append(x)
        x += widths[column]
    lefts.append(x + gaps[columns])
    for lane in lanes:
        for box in lane.boxes:
            box.x, box.width = lefts[box.column], widths[box.column]
    return lefts


def _set_rows(lanes: Iterable[Lane]) -> float:
    """Give lanes and boxes their y; where the last lane ends."""
    y = float(TOP)
    for lane in lanes:
        lane.y, lane.tops = y, []
        y += HEADER
        for row in range(lane.rows):
            y += CHANNEL * lane.channels[row]
            lane.tops.append(y)
            here = [box for box in lane.boxes if box.row == row]
            lines = max((len(box.lines) for box in here), default=0)
            height = 2 * PAD + LINE * lines - 4 if lines else 0.0
            for box in here:
                box.y, box.height = y, height
            y += height + ROW_GAP
        lane.tops.append(y)
        y += CHANNEL * lane.channels[-1]
        lane.height = y - lane.y
        y += LANE_GAP
    return y


# --- edges -------------------------------------------------------------------------------------------------


def _plan(edges: list[Edge], lanes: list[Lane], place: dict[str, tuple[int, Box]]) -> list[_Plan]:
    taken = {(number, box.column, box.row) for number, box in place.values()}
    plans: list[_Plan] = []
    for edge in edges:
        (from_lane, start), (to_lane, end) = place[edge.start], place[edge.end]
        between = range(start.column + 1, end.column)
        out, into = start.column + 1, end.column
        if from_lane == to_lane and out == into:
            plans.append(_Plan(edge, out if start.row != end.row else None, None))
        elif from_lane == to_lane and into > out and _free(taken, from_lane, between, start.row):
            plans.append(_Plan(edge, None, into if start.row != end.row else None))
            taken |= {(from_lane, column, start.row) for column in between}
        elif from_lane == to_lane and into > out and _free(taken, from_lane, between, end.row):
            plans.append(_Plan(edge, out, None))
            taken |= {(from_lane, column, end.row) for column in between}
        else:
            above = _channel_row(lanes[from_lane].rows, start.row, end.row, to_lane - from_lane)
            number = lanes[from_lane].channels[above]
            lanes[from_lane].channels[above] += 1
            plans.append(_Plan(edge, out, into, (from_lane, above, number)))
    return plans


def _channel_row(rows: int, start: int, end: int, lanes_down: int) -> int:
    """Above which row of its own lane an edge runs along."""
    if lanes_down:
        return rows if lanes_down > 0 else 0
    if start == end:
        return 0 if start == 0 else start + 1
    return max(start, end)


def _free(taken: set[tuple[int, int, int]], lane: int, columns: range, row: int) -> bool:
    return not any((lane, column, row) in taken for column in columns)


def _tracks(plans: Iterable[_Plan]) -> dict[tuple[int, str], int]:
    """A place of its own in each gap for all edges that leave one handoff there, or come to one."""
    tracks: dict[tuple[int, str], int] = {}
    used: dict[int, int] = {}
    for plan in plans:
        for gap, whose in ((plan.out, f"from {plan.edge.start}"), (plan.into, f"to {plan.edge.end}")):
            if gap is not None and (gap, whose) not in tracks:
                tracks[gap, whose] = used.get(gap, 0)
                used[gap] = tracks[gap, whose] + 1
    return tracks


def _corners(
    plan: _Plan,
    *,
    lanes: list[Lane],
    place: dict[str, tuple[int, Box]],
    tracks: dict[tuple[int, str], int],
    lefts: list[float],
    gaps: list[float],
) -> list[tuple[float, float]]:
    start, end = place[plan.edge.start][1], place[plan.edge.end][1]
    below = 14.0 if plan.edge.kind == "requires" else 0.0
    turns = plan.out is not None or plan.into is not None

    def track_x(gap: int, whose: str) -> float:
        return lefts[gap] - gaps[gap] + GAP / 3 + TRACK * tracks[gap, whose]

    # What turns comes in beside the middle, so that it does not lie on a line that leaves at the same height.
    here, there = start.middle + below, end.middle + below + (_ASIDE[plan.edge.kind] if turns else 0.0)
    corners = [(start.x + start.width, here)]
    y = here
    if plan.channel is not None:
        lane_number, row, number = plan.channel
        lane = lanes[lane_number]
        below_last = CHANNEL * lane.channels[-1] if row == lane.rows else 0
        y = lane.tops[row] + below_last - ROW_GAP / 2 - CHANNEL * (number + 0.5)
    elif plan.into is None:
        y = there
    if plan.out is not None:
        x = track_x(plan.out, f"from {plan.edge.start}")
        corners += [(x, here), (x, y)]
    if plan.into is not None:
        x = track_x(plan.into, f"to {plan.edge.end}")
        corners += [(x, y), (x, there)]
    corners.append((end.x, there))
    return corners
