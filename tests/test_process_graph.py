"""The pictures of a process map: complete, well formed, and with nothing over anything else."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflows.cli.process import process as process_command
from dataflows.process_maps import load_process_map, shipped_process_maps
from operators.process_edges import Edge, edges_of, reaches, successors
from operators.process_graph import mermaid, svg
from operators.process_layout import PAD, STRIPE, Box, Layout, layout, line_width
from operators.process_map import Handoff, Pattern, ProcessMap
from schemas.durations import HOUR_US, Duration
from schemas.errors import AndonError, SettingsError
from schemas.events import EVENT_TYPES

_SVG = "{http://www.w3.org/2000/svg}"
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


@st.composite
def process_maps(draw: st.DrawFn) -> ProcessMap:
    """Any map that a picture may have to be made of: any events, cases, dependencies and titles."""
    names = [f"step_{index}" for index in range(draw(st.integers(0, 14)))]
    patterns = st.builds(
        Pattern,
        st.sampled_from(sorted(EVENT_TYPES)[:6]),
        st.just({}) | st.dictionaries(st.just("task_type"), _TEXTS | st.lists(_TEXTS, max_size=3), max_size=1),
    )
    handoffs = [
        Handoff(
            name=name,
            case=draw(st.sampled_from(["order_id", "po_id", "return_id"])),
            start=draw(patterns),
            end=draw(patterns),
            start_optional=draw(st.booleans()),
            abandoned_by=draw(st.lists(patterns, max_size=2)),
            title=draw(_TEXTS),
            per=draw(st.lists(st.just("line_id"), max_size=1)),
            scope=draw(st.sampled_from(["", "node"])),
            deadline=draw(st.none() | st.just(Duration(HOUR_US))),
            requires=draw(
                st.lists(
                    st.sampled_from(names).filter(lambda other, name=name: other != name),
                    max_size=2,
                    unique=True,
                )
            )
            if len(names) > 1
            else [],
            depends_on=draw(st.lists(st.sampled_from(names[:index]), max_size=3, unique=True)) if index else [],
        )
        for index, name in enumerate(names)
    ]
    return ProcessMap(name="drawn", title=draw(_TEXTS), handoff=handoffs)


def _boxes(placed: Layout) -> list[Box]:
    return [box for lane in placed.lanes for box in lane.boxes]


def _inside(box: Box, x: float, y: float, margin: float = 1.0) -> bool:
    return box.x + margin < x < box.x + box.width - margin and box.y + margin < y < box.y + box.height - margin


def _check_layout(process: ProcessMap) -> None:
    placed = layout(process)
    boxes = _boxes(placed)
    assert sorted(box.handoff.name for box in boxes) == sorted(handoff.name for handoff in process.handoff)
    for index, box in enumerate(boxes):
        assert box.x >= 0
        assert box.x + box.width <= placed.width
        assert all(STRIPE + 2 * PAD + line_width(line) <= box.width + 0.01 for line in box.lines), "text fits"
        for other in boxes[index + 1 :]:
            apart = box.x + box.width < other.x or other.x + other.width < box.x
            assert apart or box.y + box.height < other.y or other.y + other.height < box.y, (box, other)
    for lane, following in zip(placed.lanes, placed.lanes[1:], strict=False):
        assert lane.y + lane.height < following.y
    for lane in placed.lanes:
        assert all(lane.y < box.y and box.y + box.height < lane.y + lane.height for box in lane.boxes)
    _check_routes(placed, boxes)


def _check_routes(placed: Layout, boxes: list[Box]) -> None:
    _check_apart(placed)
    by_name = {box.handoff.name: box for box in boxes}
    for route in placed.routes:
        start, end = by_name[route.edge.start], by_name[route.edge.end]
        assert route.corners[0][0] == start.x + start.width
        assert route.corners[-1][0] == end.x
        assert start.y < route.corners[0][1] < start.y + start.height
        assert end.y < route.corners[-1][1] < end.y + end.height
        for (x1, y1), (x2, y2) in zip(route.corners, route.corners[1:], strict=False):
            assert x1 == x2 or y1 == y2, "lines are level or upright"
            for step in range(41):
                x, y = x1 + (x2 - x1) * step / 40, y1 + (y2 - y1) * step / 40
                assert not any(_inside(box, x, y) for box in boxes), (route, x, y)
        assert route.corners[-1][0] > route.corners[-2][0], "arrows come in from the left"


def _check_apart(placed: Layout) -> None:
    """Lines lie on one another only where they have a handoff in common."""
    pieces = [
        (route.edge, *sorted((corner, following)))
        for route in placed.routes
        for corner, following in zip(route.corners, route.corners[1:], strict=False)
    ]
    for index, (edge, (x1, y1), (x2, y2)) in enumerate(pieces):
        for other, (x3, y3), (x4, y4) in pieces[index + 1 :]:
            level = y1 == y2 == y3 == y4 and max(x1, x3) < min(x2, x4)
            upright = x1 == x2 == x3 == x4 and max(y1, y3) < min(y2, y4)
            if level or upright:
                assert edge.start == other.start or edge.end == other.end, (edge, other)


@pytest.mark.parametrize("name", shipped_process_maps())
def test_the_shipped_maps_are_laid_out(name: str) -> None:
    _check_layout(load_process_map(name))


@settings(deadline=None, max_examples=150)
@given(process_maps())
def test_any_map_is_laid_out(process: ProcessMap) -> None:
    _check_layout(process)


@settings(deadline=None, max_examples=100)
@given(process_maps())
def test_any_map_gives_whole_pictures(process: ProcessMap) -> None:
    _check_pictures(process)


@pytest.mark.parametrize("name", shipped_process_maps())
def test_the_shipped_maps_give_whole_pictures(name: str) -> None:
    _check_pictures(load_process_map(name))


def _check_pictures(process: ProcessMap) -> None:
    root = ET.fromstring(svg(process))  # noqa: S314 - our own text
    ids = [element.get("id") for element in root.iter(f"{_SVG}g")]
    edges = edges_of(process)
    assert ids.count(None) == 0
    assert sorted(map(str, ids)) == sorted(
        [f"handoff-{handoff.name}" for handoff in process.handoff]
        + [f"edge-{edge.start}-{edge.kind}-{edge.end}" for edge in edges]
    )
    drawn = mermaid(process)
    lines = drawn.splitlines()
    for handoff in process.handoff:
        assert sum(line.strip().startswith(f'{handoff.name}["') for line in lines) == 1
    arrows = {"depends": "-->", "requires": "-. requires .->", "then": "-. then .->"}
    for edge in edges:
        assert f"  {edge.start} {arrows[edge.kind]} {edge.end}" in lines
    assert all(line.count('"') in (0, 2) for line in lines[3:]), "a quote in a text must not end it"
    assert drawn.count("subgraph") == lines.count("  end")


def test_edges_of_the_default_map() -> None:
    found = {(edge.start, edge.end): edge.kind for edge in edges_of(load_process_map("default"))}
    assert found["pick", "dispatch"] == "depends"
    assert found["goods_receipt", "supplier_payment"] == "requires"
    assert found["supplier_delivery", "supplier_invoice"] == "then"
    assert ("order_approval", "reservation") not in found


@settings(deadline=None, max_examples=100)
@given(process_maps())
def test_what_follows_makes_no_circle(process: ProcessMap) -> None:
    after = successors(edge for edge in edges_of(process) if edge.kind != "requires")
    assert not any(reaches(after, handoff.name, handoff.name) for handoff in process.handoff)


def test_a_map_without_dependencies_is_drawn_along_its_events() -> None:
    process = load_process_map("default")
    bare = msgspec.structs.replace(
        process, handoff=[msgspec.structs.replace(handoff, depends_on=[]) for handoff in process.handoff]
    )
    assert Edge("order_approval", "allocation", "then") in edges_of(bare)
    columns = {box.handoff.name: (box.row, box.column) for box in _boxes(layout(bare))}
    assert columns["order_approval"] < columns["allocation"] < columns["reservation"]
    _check_layout(bare)


def test_what_a_step_need_not_have_is_shown() -> None:
    default, ocel = load_process_map("default"), load_process_map("ocel")
    assert "given up at task.rejected [pick]" in mermaid(default)
    assert "or given up at task.rejected [pick]" in svg(default)
    assert "shipment.dispatched after order.cancelled [no line_id]" in svg(default)
    assert "shipment.exception where there is one → shipment.delivered" in mermaid(ocel)
    assert "from shipment.exception where there is one" in svg(ocel)


def test_markup_in_a_title_stays_text() -> None:
    handoff = load_process_map("default").handoff[0]
    process = ProcessMap(name="x", title='<b>"&\x01', handoff=[msgspec.structs.replace(handoff, title='A\n& "<B>"')])
    drawn = svg(process)
    texts = [element.text for element in ET.fromstring(drawn).iter(f"{_SVG}text")]  # noqa: S314 - our own text
    assert 'A & "<B>"' in texts
    assert "A #38; #34;#60;B#62;#34;" in mermaid(process)


def test_a_word_of_mermaid_may_be_a_name() -> None:
    handoff = load_process_map("default").handoff[0]
    process = ProcessMap(name="x", handoff=[msgspec.structs.replace(handoff, name="end")])
    assert '    end_["' in mermaid(process)


def test_the_command_draws_both(tmp_path: Path) -> None:
    run = CliRunner().invoke
    default = load_process_map("default")
    assert run(process_command, ["graph"]).output == mermaid(default)
    assert run(process_command, ["graph", "--map", "default", "--format", "svg"]).output == svg(default)
    own = tmp_path / "own.toml"
    own.write_text('name = "own"\n', encoding="utf-8")
    out = tmp_path / "own.svg"
    assert run(process_command, ["graph", "--map", str(own), "--format", "svg", "--out", str(out)]).exit_code == 0
    assert ET.fromstring(out.read_text(encoding="utf-8")).tag == f"{_SVG}svg"  # noqa: S314 - our own text
    assert isinstance(run(process_command, ["graph", "--map", "nowhere"]).exception, SettingsError)
    unwritable = run(process_command, ["graph", "--out", str(tmp_path / "no" / "where")])
    assert isinstance(unwritable.exception, AndonError)


def test_pictures_are_the_same_in_every_process() -> None:
    program = (
        "from dataflows.process_maps import load_process_map as load\n"
        "from operators.process_graph import mermaid, svg\n"
        "print(svg(load('default')), mermaid(load('default')))"
    )
    command = [sys.executable, "-c", program]
    runs = {
        subprocess.run(command, check=True, capture_output=True, env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2")
    }
    assert len(runs) == 1
