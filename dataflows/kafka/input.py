"""What lanes over Kafka read, and how."""

from logging import Logger

import msgspec

from dataflows.kafka.client import Properties
from dataflows.kafka.feeds import LaneWatch
from dataflows.kafka.renewal import LOST_S
from dataflows.kafka.topics import Begin
from dataflows.lane import Clock
from operators.lane_state import TimeRules
from schemas.durations import SECOND_US


class KafkaInput(msgspec.Struct, frozen=True, kw_only=True):
    """What lanes read, and how; the same in every process. `now` is the wall clock.

    `lost_us`: a lane that the broker does not answer for so long, while it answers others, gets a new client.
    """

    properties: Properties
    topics: tuple[str, ...]
    begin: Begin
    skip_expired: bool
    rules: TimeRules
    batch: int
    buffer: int
    idle_grace_us: int
    idle_grace_appended_us: int
    discover_us: int
    lost_us: int = int(LOST_S * SECOND_US)
    now: Clock
    watch: LaneWatch
    logger: Logger
