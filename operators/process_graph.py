"""The picture of a process map: Mermaid text, and an SVG with a layout of its own."""

import json
from html import escape

from operators.process_edges import (
    Edge,
    case_words,
    cases_of,
    due_words,
    edges_of,
    event_words,
    name_words,
    pattern_words,
)
from operators.process_layout import (
    HEADER,
    LINE,
    MARGIN,
    PAD,
    SIZES,
    STRIPE,
    Box,
    Lane,
    Layout,
    Route,
    layout,
    text_width,
)
from operators.process_map import ProcessMap, Severity

# --- Mermaid -----------------------------------------------------------------------------------------------

#: Words that Mermaid does not take for the id of a node.
_RESERVED = frozenset(
    {
        *("call", "class", "classdef", "click", "default", "direction", "end", "flowchart"),
        *("graph", "href", "interpolate", "linkstyle", "style", "subgraph"),
    }
)
_ARROWS = {"depends": "-->", "requires": "-. requires .->", "then": "-. then .->"}
_MERMAID_ESCAPES = str.maketrans({char: f"#{ord(char)};" for char in '"#;<>&`\\'})


def mermaid(process: ProcessMap) -> str:
    """A Mermaid flowchart: a box for each handoff, grouped by kind of case, and an arrow for each edge."""
    title = json.dumps(_one_line(process.title or process.name), ensure_ascii=False)
    out = ["---", f"title: {title}", "---", "flowchart LR"]
    for case in cases_of(process):
        heading = ": ".join(map(_mermaid_text, case_words(process, case)))
        out.append(f'  subgraph case_{case}["{heading}"]')
        for handoff in process.handoff:
            if handoff.case == case:
                start, end, given_up = event_words(handoff)
                lines = [handoff.title or handoff.name, name_words(handoff), f"{start} → {end}"]
                lines += [f"given up at {given_up}"] if given_up else []
                lines.append(due_words(handoff))
                out.append(f'    {_node(handoff.name)}["{"<br/>".join(map(_mermaid_text, lines))}"]')
        out.append("  end")
    out += [f"  {_node(edge.start)} {_ARROWS[edge.kind]} {_node(edge.end)}" for edge in edges_of(process)]
    return "\n".join(out) + "\n"


def _node(name: str) -> str:
    return f"{name}_" if name in _RESERVED else name


def _mermaid_text(text: str) -> str:
    return _one_line(text).translate(_MERMAID_ESCAPES)


def _one_line(text: str) -> str:
    """`text` with a space for each line end, control character or other thing that can't be shown."""
    return "".join(char if char.isprintable() else " " for char in text)


# --- SVG ---------------------------------------------------------------------------------------------------

_STRIPES: dict[Severity, str] = {
    "info": "#adb5bd",
    "low": "#74a3c7",
    "medium": "#1f6fb2",
    "high": "#e8740c",
    "critical": "#c92a2a",
}
#: From the faintest to the strongest, as they are drawn over one another.
_LINES = {"then": "#9aa5b1", "depends": "#3b4754", "requires": "#b02a37"}
_WORDS = {
    "then": "ends where the next starts",
    "depends": "holds up the next",
    "requires": "must be over before the next ends",
}
_STYLE = """
  text { font-family: "Helvetica Neue", Helvetica, Arial, "DejaVu Sans", sans-serif; fill: #1d2733; }
  .heading { font-size: 22px; font-weight: bold; }
  .lane { font-size: 15px; font-weight: bold; }
  .note { font-size: 12px; fill: #55616e; }
  .halo { paint-order: stroke; stroke: #f3f5f8; stroke-width: 5px; stroke-linejoin: round; }
  .title { font-size: 14px; font-weight: bold; }
  .name { font-size: 11.5px; fill: #55616e; }
  .event { font-size: 12px; }
  .due { font-size: 12px; font-weight: bold; fill: #34495e; }
  .band { fill: #f3f5f8; stroke: #dde3ea; }
  .box { fill: #ffffff; stroke: #b8c2cc; }
  .edge { fill: none; stroke-width: 1.6; }
  .requires { stroke-dasharray: 6 4; }
""".strip("\n")


def svg(process: ProcessMap) -> str:
    """An SVG: lanes for the kinds of case, boxes for handoffs, lines for edges, and the rules below."""
    placed = layout(process)
    heading = f"{process.title or process.name}: who hands over to whom, and by when"
    legend, legend_width = _legend(placed, process)
    rules = _rules(process)
    widths = [text_width(rule, SIZES["note"]) for rule in rules]
    widths += [legend_width, text_width(heading, SIZES["heading"], bold=True)]
    width = max(placed.width, 2 * MARGIN + max(widths))
    height = placed.bottom + LINE * len(rules) + MARGIN
    size = f'width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
        f"<title>{_xml(heading)}</title>",
        f"<style>\n{_STYLE}\n</style>",
        "<defs>",
        *(_arrow_head(kind, colour) for kind, colour in _LINES.items()),
        "</defs>",
        f'<rect {size} fill="#ffffff"/>',
        _text(MARGIN, 44, "heading", heading),
        *legend,
        *(_band(lane, width) for lane in placed.lanes),
    ]
    for kind in _LINES:
        parts += [_draw_route(route) for route in placed.routes if route.edge.kind == kind]
    for lane in placed.lanes:
        parts += _lane_heading(lane)
        parts += [part for box in lane.boxes for part in _draw_box(box)]
    for index, rule in enumerate(rules):
        parts.append(_text(MARGIN, placed.bottom + LINE * (index + 1), "note", rule))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _rules(process: ProcessMap) -> list[str]:
    """What is impossible, and what is a finding by itself, a line each."""
    out = [
        f"impossible: {rule.name}: {pattern_words(rule.event)} after {pattern_words(rule.after)}"
        for rule in process.forbidden
    ]
    out += [f"always a finding: {rule.name}: {pattern_words(rule.event)}" for rule in process.exception]
    return out


def _legend(placed: Layout, process: ProcessMap) -> tuple[list[str], float]:
    """What lines and stripes mean, of those that are there; and how wide that is."""
    out, x = [], float(MARGIN)
    for kind, words in _WORDS.items():
        edge = next((route.edge for route in placed.routes if route.edge.kind == kind), None)
        if edge is not None:
            out.append(_draw_line(edge, [(x, 68), (x + 34, 68)]))
            out.append(_text(x + 42, 72, "note", words))
            x += 42 + text_width(words, SIZES["note"]) + 22
    for severity in dict.fromkeys(handoff.severity for handoff in process.handoff):
        words = f"{severity} severity"
        out.append(f'<rect x="{x:.1f}" y="61" width="{STRIPE}" height="14" fill="{_STRIPES[severity]}"/>')
        out.append(_text(x + STRIPE + 6, 72, "note", words))
        x += STRIPE + 6 + text_width(words, SIZES["note"]) + 22
    return out, x - MARGIN


def _band(lane: Lane, width: float) -> str:
    left, across = MARGIN - PAD / 2, width - 2 * MARGIN + PAD
    place = f'x="{left:.1f}" y="{lane.y:.1f}" width="{across:.1f}" height="{lane.height:.1f}"'
    return f'<rect class="band" {place} rx="8"/>'


def _lane_heading(lane: Lane) -> list[str]:
    y = lane.y + HEADER - 16
    aside = text_width(lane.title, SIZES["lane"], bold=True) + PAD / 2
    return [
        _text(MARGIN + PAD / 2, y, "lane halo", lane.title),
        _text(MARGIN + PAD / 2 + aside, y, "note halo", lane.note),
    ]


def _draw_box(box: Box) -> list[str]:
    handoff = box.handoff
    place = f'x="{box.x:.1f}" y="{box.y:.1f}"'
    lines = [
        _text(box.x + STRIPE + PAD, box.y + PAD + LINE * (index + 0.7), style, text)
        for index, (text, style) in enumerate(box.lines)
    ]
    return [
        f'<g id="handoff-{handoff.name}">',
        f"<title>{_xml(f'{handoff.name}: {handoff.start} to {handoff.end}, {due_words(handoff)}')}</title>",
        f'<rect class="box" {place} width="{box.width:.1f}" height="{box.height:.1f}" rx="4"/>',
        f'<rect {place} width="{STRIPE}" height="{box.height:.1f}" fill="{_STRIPES[handoff.severity]}"/>',
        *lines,
        "</g>",
    ]


def _draw_route(route: Route) -> str:
    edge = route.edge
    name = f"edge-{edge.start}-{edge.kind}-{edge.end}"
    return f'<g id="{name}">{_draw_line(edge, route.corners)}</g>'


def _draw_line(edge: Edge, corners: list[tuple[float, float]]) -> str:
    """A line with rounded corners and an arrow head at its end."""
    path = [f"M {corners[0][0]:.1f} {corners[0][1]:.1f}"]
    for before, corner, after in zip(corners, corners[1:], corners[2:], strict=False):
        (x1, y1), (x2, y2) = _towards(corner, before), _towards(corner, after)
        path.append(f"L {x1:.1f} {y1:.1f} Q {corner[0]:.1f} {corner[1]:.1f} {x2:.1f} {y2:.1f}")
    path.append(f"L {corners[-1][0]:.1f} {corners[-1][1]:.1f}")
    style = f'class="edge {edge.kind}" stroke="{_LINES[edge.kind]}" marker-end="url(#{edge.kind}-head)"'
    return f'<path {style} d="{" ".join(path)}"/>'


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The point a little way from `corner` to `other`, where its rounding begins."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)
    share = min(6.0, length / 2) / length if length else 0.0
    return corner[0] + dx * share, corner[1] + dy * share


def _arrow_head(kind: str, colour: str) -> str:
    size = 'viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" markerUnits="userSpaceOnUse"'
    head = f'<path d="M 0 0.5 L 8 4 L 0 7.5 z" fill="{colour}"/>'
    return f'<marker id="{kind}-head" {size} orient="auto">{head}</marker>'


def _text(x: float, y: float, style: str, text: str) -> str:
    return f'<text class="{style}" x="{x:.1f}" y="{y:.1f}">{_xml(text)}</text>'


def _xml(text: str) -> str:
    return escape(_one_line(text))
