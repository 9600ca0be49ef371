"""Whatever the contract allows is processed, and kept and read back, with everything on: no value ends the job."""

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataflows.job import pipeline_settings
from dataflows.process_maps import load_process_map
from dataflows.settings import Settings
from schemas.durations import SECOND_US
from schemas.events import Event
from schemas.rows import DeadLetter
from tests.harness import START_US, PurePipeline, encoded
from tests.strategies import events

EVERYTHING = pipeline_settings(Settings(), load_process_map("default"))
#: Some ids for all fields, so that events meet; and what a field may be at most.
FEW_IDS = st.sampled_from(["a", "b"])
HUGE = st.sampled_from([1e15, -1e15, 9e12, -0.0, 0.1])
_IDS = ("order_id", "sku", "node", "reservation_id", "task_id", "shipment_id", "return_id", "po_id", "reference")
_QUANTITIES = ("qty", "on_hand", "delta", "depth")


@st.composite
def near_events(draw: st.DrawFn) -> Event:
    """A valid event of some minutes, of cases and items of which there are few, now and then with huge quantities."""
    event = draw(events())
    fields = set(event.__struct_fields__)
    own: dict[str, object] = {name: draw(FEW_IDS) for name in _IDS if name in fields and draw(st.booleans())}
    own |= {name: draw(HUGE) for name in _QUANTITIES if name in fields and draw(st.booleans())}
    if own.get("depth", 0) < 0:  # type: ignore[operator] # a number
        del own["depth"]
    occurred = datetime.fromtimestamp(START_US // SECOND_US + draw(st.integers(0, 900)), UTC)
    late = timedelta(seconds=draw(st.integers(0, 120)))
    return msgspec.structs.replace(event, occurred_at=occurred, recorded_at=occurred + late, **own)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(log=st.lists(near_events(), min_size=1, max_size=30), batch=st.integers(1, 10), kept=st.booleans())
def test_it_is_processed_kept_and_read_back(log: list[Event], batch: int, *, kept: bool) -> None:
    in_order = sorted(log, key=lambda event: event.recorded_at or event.occurred_at)
    pipeline = PurePipeline({"log": [msgspec.json.encode(event) for event in in_order]}, EVERYTHING, batch)
    while not pipeline.ended:
        pipeline.step(EVERYTHING.lanes[0])
        if kept:
            pipeline.keep_and_restore()
    assert not [row for row in pipeline.rows if isinstance(row, DeadLetter)]
    assert len(encoded(pipeline.rows)) == len(pipeline.rows)
