"""Boxes and arrows as SVG: what the pictures of docs/architecture.md are made of.

A picture is declared, not drawn: boxes at places of a grid, arrows between boxes by name. It is plain text of the same
bytes each time, loads nothing, and has a title for those who don't see it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from xml.sax.saxutils import escape

_WIDTH, _LINE, _PAD = 172, 16, 12
_COLUMN, _ROW = 206, 104
_FILLS = {
    "ours": ("#e8eefc", "#3f51b5"),
    "store": ("#e6f4ea", "#2e7d32"),
    "outside": ("#f5f5f5", "#757575"),
    "people": ("#fff4e0", "#b26a00"),
}


class Box(NamedTuple):
    """One part: its place in the grid (columns and rows may be fractions), its name, and lines below it.

    `kind` is `ours`, `store`, `outside` or `people`.
    """

    column: float
    row: float
    title: str
    lines: tuple[str, ...] = ()
    kind: str = "ours"


class Arrow(NamedTuple):
    """From one box to another, by their keys, with what goes along it. `dashed` is what goes back or is only read."""

    start: str
    end: str
    label: str = ""
    dashed: bool = False


class Frame(NamedTuple):
    """A rectangle around boxes, with a name: a process, a machine."""

    title: str
    boxes: tuple[str, ...]


class Picture(NamedTuple):
    """One SVG."""

    title: str
    boxes: Mapping[str, Box]
    arrows: Sequence[Arrow]
    frames: Sequence[Frame] = ()


class _Place(NamedTuple):
    left: float
    top: float
    width: float
    height: float

    @property
    def middle(self) -> tuple[float, float]:
        return self.left + self.width / 2, self.top + self.height / 2


def svg(picture: Picture) -> str:
    """The picture's text."""
    places = {key: _place(box) for key, box in picture.boxes.items()}
    width = max(place.left + place.width for place in places.values()) + 30
    height = max(place.top + place.height for place in places.values()) + 30
    body = [
        *(_frame(frame, places) for frame in picture.frames),
        *(part for arrow in picture.arrows for part in _arrow(arrow, places)),
        *(part for key, box in picture.boxes.items() for part in _box(box, places[key])),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img" font-family="system-ui, sans-serif" font-size="12">\n'
        f"<title>{escape(picture.title)}</title>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#555"/></marker></defs>\n'
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _place(box: Box) -> _Place:
    height = _LINE * (1 + len(box.lines)) + _PAD
    middle = 40 + _ROW * box.row + _ROW / 2
    return _Place(30 + _COLUMN * box.column, middle - height / 2, _WIDTH, height)


def _box(box: Box, place: _Place) -> Iterator[str]:
    fill, edge = _FILLS[box.kind]
    yield (
        f'<rect x="{place.left:g}" y="{place.top:g}" width="{place.width:g}" height="{place.height:g}" rx="6" '
        f'fill="{fill}" stroke="{edge}"/>'
    )
    x = place.middle[0]
    for number, line in enumerate((box.title, *box.lines)):
        weight = ' font-weight="600"' if number == 0 else ' fill="#444"'
        y = place.top + _PAD / 2 + _LINE * number + 12
        yield f'<text x="{x:g}" y="{y:g}" text-anchor="middle"{weight}>{escape(line)}</text>'


def _frame(frame: Frame, places: Mapping[str, _Place]) -> str:
    inside = [places[key] for key in frame.boxes]
    left, top = min(one.left for one in inside) - 14, min(one.top for one in inside) - 30
    right = max(one.left + one.width for one in inside) + 14
    bottom = max(one.top + one.height for one in inside) + 14
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{right - left:g}" height="{bottom - top:g}" rx="10" fill="none" '
        f'stroke="#999" stroke-dasharray="5 4"/>\n'
        f'<text x="{left + 10:g}" y="{top + 17:g}" fill="#666">{escape(frame.title)}</text>'
    )


def _arrow(arrow: Arrow, places: Mapping[str, _Place]) -> Iterator[str]:
    start, end = places[arrow.start], places[arrow.end]
    (from_x, from_y), (to_x, to_y) = _edge(start, end), _edge(end, start)
    dash = ' stroke-dasharray="4 3"' if arrow.dashed else ""
    yield (
        f'<line x1="{from_x:.1f}" y1="{from_y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="#555"{dash} '
        'marker-end="url(#head)"/>'
    )
    if arrow.label:
        x, y = (from_x + to_x) / 2, (from_y + to_y) / 2
        yield (
            f'<text x="{x:.1f}" y="{y - 4:.1f}" text-anchor="middle" font-size="11" fill="#333" stroke="#ffffff" '
            f'stroke-width="4" paint-order="stroke">{escape(arrow.label)}</text>'
        )


def _edge(box: _Place, towards: _Place) -> tuple[float, float]:
    """Where a line between the middles of two boxes leaves the first."""
    (x, y), (to_x, to_y) = box.middle, towards.middle
    dx, dy = to_x - x, to_y - y
    share = min(
        box.width / 2 / abs(dx) if dx else float("inf"),
        box.height / 2 / abs(dy) if dy else float("inf"),
    )
    return x + dx * share, y + dy * share
