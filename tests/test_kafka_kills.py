"""A job over a real broker and a real ClickHouse, killed at random points all along a log: the views are the same.

50 points unless `ANDON_TEST_KILLS` says otherwise. A kill tells of the step that the job is in just then; a step that
takes a twentieth of a round (write, answer, snapshot, commit) is met by at least one of fifty kills in twelve of
thirteen runs, and other ones in each run, since the machine's timing moves them. More kills have a longer log, so that
each finds as much of it.
"""

import os
from pathlib import Path

import pytest

from tests import kafka_fixtures as fixtures
from tests.clickhouse_front import ClickHouseFront
from tests.databases import fingerprints
from tests.kafka_broker import Broker
from tests.kafka_job import Job, Killer, Log
from tests.test_flow import slots_in

PARTITIONS = 3
KILLS = int(os.environ.get("ANDON_TEST_KILLS", "50"))
#: So much of the log for each kill: a quarter of a second of work. Starting takes three times as long.
EVENTS = 3_000 * KILLS
#: As short as the log is, so that most of the kills that are waited for find epochs kept since the one before.
EPOCH = "150ms"
LONGEST_S = 0.45

broker = fixtures.broker
engine = fixtures.engine
front = fixtures.front
log = fixtures.log
undisturbed = fixtures.undisturbed_prints


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("day")
    made = fixtures.simulated(folder, PARTITIONS, orders_per_day=68 * KILLS, counter_sales_per_day=99 * KILLS)
    assert made.count >= EVENTS
    return made


def test_killed_at_many_random_points(
    tmp_path: Path, broker: Broker, front: ClickHouseFront, log: Log, undisturbed: object
) -> None:
    slow = {"epoch": EPOCH, "batch": 1_000, "increments_from": 256}
    with Job(tmp_path, broker, front.dsn_of("killed"), engine=slow) as job:
        killer = Killer(job, log, seed=11)
        left: float = log.count
        for number in range(KILLS):
            late = left > log.count * (1 - number / KILLS)
            killer.once(longest_s=LONGEST_S if late else 0.1)  # so that the kills are spread over the log
            left = killer.points[-1] or left
        assert killer.while_consuming >= KILLS * 0.5, "the log was long enough to be killed in"
        job.run_to_end(log, deadline_s=900)
        assert fingerprints(job.folder) == undisturbed
        kept = slots_in(job.folder / "state")
        assert {name.split()[1].partition(":")[0] for name in kept} >= {"case", "item"}, "state was kept in increments"
