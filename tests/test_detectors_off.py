"""The kill switch of the detectors: nothing is judged, handoffs stay as they are, and it can be thrown on the way."""

import msgspec

from operators.anomaly.settings import ModelSettings
from operators.detectors.settings import DetectorSettings
from operators.pipeline import PipelineSettings
from schemas.incident_rows import Incident
from schemas.rows import HandoffPass, HandoffWindow, Row, Signal
from tests.harness import PurePipeline, encoded, settings
from tests.shifted_backlog import shifted_log

#: What the handoffs' tracker itself says of passes.
OF_HANDOFFS = {"handoff_tracker"}


def chosen(*, enabled: bool) -> PipelineSettings:
    detectors = DetectorSettings(enabled=enabled)
    return msgspec.structs.replace(settings(), detectors=detectors, models=ModelSettings(enabled=False))


def of_handoffs(rows: list[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if isinstance(row, HandoffPass | HandoffWindow) or (isinstance(row, Signal) and row.detector in OF_HANDOFFS)
    ]


def detectors(rows: list[Row]) -> set[str]:
    return {row.detector for row in rows if isinstance(row, Signal)}


def test_off_only_handoffs_say_anything_and_they_say_the_same() -> None:
    on = PurePipeline(shifted_log(), chosen(enabled=True), 1_000).run()
    off = PurePipeline(shifted_log(), chosen(enabled=False), 1_000).run()
    assert detectors(on) > OF_HANDOFFS
    assert any(isinstance(row, Incident) for row in on)
    assert detectors(off) == OF_HANDOFFS
    assert not any(isinstance(row, Incident) for row in off)
    assert encoded(of_handoffs(off)) == encoded(of_handoffs(on))


def test_off_on_the_way_what_they_kept_is_forgotten() -> None:
    running = PurePipeline(shifted_log(), chosen(enabled=True), 500)
    running.step("lane-0")
    running.step("lane-0")
    for name, group in running.groups.items():
        off = PurePipeline({}, chosen(enabled=False), 1)._group(name)
        off.restore(group.snapshot())
        theirs = {kept for kept in group.sizes() if kept[0] in {"same_content", "order_book", "scope_detectors"}}
        assert not any(off.sizes().get(kept, 0) for kept in theirs), name
        on = PurePipeline({}, chosen(enabled=True), 1)._group(name)
        on.restore(off.snapshot())  # thrown back, they begin anew
