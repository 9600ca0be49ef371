"""Two breakdowns on one simulated day, at the same hours: two incidents, each with its own cause and its own orders."""

from pathlib import Path

import msgspec
import pytest

from dataflows.cli import run_command
from dataflows.evaluation import judge, read_truth
from dataflows.evaluation_table import incidents_of
from scenarios.settings import PRESETS, BreakdownSpec
from scenarios.simulate import simulate
from schemas.durations import MINUTE_US, Duration
from sinks.clickhouse.store import open_store


def _at(clock: str) -> Duration:
    hour, minute = map(int, clock.split(":"))
    return Duration((hour * 60 + minute) * MINUTE_US)


def _between(kind: str, begin: str, end: str) -> BreakdownSpec:
    return BreakdownSpec(kind=kind, begin=_at(begin), end=_at(end))


@pytest.mark.parametrize(
    ("seed", "broken"),
    [
        (11, (_between("queue_saturation", "11:30", "14:00"), _between("posting_interface_down", "12:00", "14:30"))),
        (7, (BreakdownSpec(kind="posting_missing"), BreakdownSpec(kind="carrier_delay", parameters={"delay": "9h"}))),
    ],
    ids=lambda given: " + ".join(one.kind for one in given) if isinstance(given, tuple) else str(given),
)
def test_two_at_once_stay_two_with_their_causes_and_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int, broken: tuple[BreakdownSpec, ...]
) -> None:
    simulate(msgspec.structs.replace(PRESETS["small"], seed=seed, breakdowns=broken), tmp_path)
    events = sorted(str(path) for path in tmp_path.glob("*.jsonl") if path.name != "truth.jsonl")
    dsn = f"chdb://{tmp_path}/db"
    assert run_command(["replay", *events, "--clickhouse", dsn, "--json"]) == 0
    capsys.readouterr()
    with open_store(dsn, readonly=True) as store:
        incidents = incidents_of(store)
    verdicts = judge(read_truth(tmp_path / "truth.jsonl"), incidents).verdicts
    assert {one.kind for one in verdicts} == {one.kind for one in broken}
    assert len({one.incident_id for one in verdicts}) == len(broken)
    for one in verdicts:
        assert one.right_kind, one
        assert one.right_scope, one
        assert one.recall is not None, one
        assert one.precision is not None, one
        assert one.recall >= 0.9, one
        assert one.precision >= 0.9, one
    others = [one for one in incidents if one.incident_id not in {verdict.incident_id for verdict in verdicts}]
    for verdict in verdicts:  # one incident a cause: no other has more than a few of its orders
        own = next(one.orders for one in incidents if one.incident_id == verdict.incident_id)
        assert all(len(own & other.orders) < 0.1 * len(own) for other in others), verdict
