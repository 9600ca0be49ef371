"""Where a lane over Kafka is resumed."""

from collections.abc import Mapping

import msgspec

from dataflows.kafka.topics import Place
from operators.lane_state import LaneState, PartitionState


class KafkaLaneState(msgspec.Struct, frozen=True, array_like=True):
    """Where a lane is resumed, and the topics it had listed by then: for one that is new, `kafka.start` holds.

    `ids` is what the broker called them: positions in a topic are none in another one of its name.
    """

    lane: LaneState
    topics: list[str]
    ids: dict[str, str] = {}


def positions_of(partitions: Mapping[str, PartitionState]) -> dict[Place, int]:
    """Where kept partitions stand: the offset of the first message that is not done with."""
    found = {}
    for name, state in partitions.items():
        topic, _, number = name.rpartition("/")
        found[topic, int(number)] = state.position
    return found
