"""The kill switch of the detectors: nothing is judged, handoffs stay as they are, and it can be thrown on the way."""

import msgspec

from dataflows.process_maps import load_process_map
from operators.anomaly.settings import ModelSettings
from operators.detectors.catalogue import case_detectors, interface_detectors, item_detectors
from operators.detectors.settings import DetectorSettings
from operators.pipeline import PipelineSettings
from schemas.durations import MINUTE_US, rfc3339
from schemas.incident_rows import Incident
from schemas.rows import HandoffPass, HandoffWindow, Row, Signal
from tests.harness import START_US, PurePipeline, encoded, settings
from tests.shifted_backlog import shifted_log

#: What the handoffs' tracker itself says of passes.
OF_HANDOFFS = {"handoff_tracker"}


def chosen(*, enabled: bool) -> PipelineSettings:
    detectors = DetectorSettings(enabled=enabled)
    process = load_process_map("default")
    return msgspec.structs.replace(
        settings(), process=process, detectors=detectors, models=ModelSettings(enabled=False)
    )


def log_of_all() -> dict[str, list[bytes]]:
    """Orders with the same content, a lump that waits, a payment that is not what was invoiced, and stock."""
    return {
        **shifted_log(),
        "erp": [posting(0, "invoice", "10.00"), posting(1, "payment", "20.00")],
        "inventory": [level(0, 7), level(1, 5)],
    }


def posting(number: int, kind: str, amount: str) -> bytes:
    own = {"posting_id": f"p{number}", "posting_type": kind, "reference": "c0-0", "amount": amount, "currency": "EUR"}
    return message("posting.recorded", "erp", number, own)


def level(number: int, on_hand: int) -> bytes:
    return message("inventory.level", "wms", number, {"sku": "s", "node": "n1", "on_hand": on_hand})


def message(kind: str, system: str, number: int, own: dict[str, object]) -> bytes:
    at = rfc3339(START_US + (10 + number) * MINUTE_US)
    said = {"type": kind, "event_id": f"{system}{number}", "source": system, "system": system}
    return msgspec.json.encode({**said, "occurred_at": at, "recorded_at": at, **own})


def kept_by(pipeline: PurePipeline) -> set[str]:
    """The detectors that keep anything, first and second parts."""
    firsts = [
        *case_detectors(DetectorSettings(), pipeline.settings.process),
        *item_detectors(DetectorSettings()),
        *interface_detectors(DetectorSettings()),
    ]
    theirs = {detector.NAME for detector in firsts} | {"scope_detectors"}
    return {part for group in pipeline.groups.values() for (part, _), many in group.sizes().items() if many} & theirs


def of_handoffs(rows: list[Row]) -> list[Row]:
    return [
        row
        for row in rows
        if isinstance(row, HandoffPass | HandoffWindow) or (isinstance(row, Signal) and row.detector in OF_HANDOFFS)
    ]


def detectors(rows: list[Row]) -> set[str]:
    return {row.detector for row in rows if isinstance(row, Signal)}


def test_off_only_handoffs_say_anything_and_they_say_the_same() -> None:
    running, stopped = (PurePipeline(log_of_all(), chosen(enabled=one), 1_000) for one in (True, False))
    on, off = running.run(), stopped.run()
    assert detectors(on) > OF_HANDOFFS | {"same_content", "postings"}, "groups of cases and of interfaces say something"
    assert kept_by(running) >= {"order_book", "same_content", "inventory", "scope_detectors"}
    assert kept_by(stopped) == set()
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
        firsts = {"same_content", "order_book", "scope_detectors", "traffic"}
        theirs = {kept for kept in group.sizes() if kept[0] in firsts}
        assert not any(off.sizes().get(kept, 0) for kept in theirs), name
        on = PurePipeline({}, chosen(enabled=True), 1)._group(name)
        on.restore(off.snapshot())  # thrown back, they begin anew
