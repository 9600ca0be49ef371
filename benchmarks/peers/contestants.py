"""Who takes part: what runs, in which environment, and what it is compared as. Names are permanent."""

import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = ROOT / ".peers"

ANDON, BYTEWAX = "andon", "bytewax"
LOOP = "loop-ids"


class Contestant(NamedTuple):
    """One line of the table."""

    name: str
    script: str
    what: str
    variant: str = ""
    peer: str = ""
    """The environment below `.peers` that it runs in; Andon's own where empty."""
    broker: bool = False
    answers: bool = True

    @property
    def python(self) -> str:
        """The interpreter that it runs with."""
        return str(PEERS / self.peer / "bin" / "python") if self.peer else sys.executable


CONTESTANTS = (
    Contestant(ANDON, "andon_files.py", "files to embedded ClickHouse, one process"),
    Contestant("andon-kafka", "andon_kafka.py", "Kafka to embedded ClickHouse, one process, recovery on", broker=True),
    Contestant(LOOP, "loop.py", "a loop without engine, every id remembered, to embedded ClickHouse", "ids"),
    Contestant("loop", "loop.py", "the same, only orders remembered", "orders"),
    Contestant("loop-ids-rows", "loop.py", "every id remembered, rows made but not stored", "ids-rows"),
    Contestant("loop-rows", "loop.py", "only orders remembered, rows made but not stored", "orders-rows"),
    Contestant(BYTEWAX, "bytewax_own.py", "its own windows and join, file to files"),
    Contestant("quix", "quix_own.py", "its own windows, join and state, Kafka to files", peer="quix", broker=True),
    Contestant("pathway", "pathway_own.py", "its own tables, bounded, file to files", peer="pathway"),
    Contestant("flink-1", "flink_sql.py", "SQL, file to files, one slot", "files-1", peer="flink"),
    Contestant("flink-2", "flink_sql.py", "SQL, file to files, two slots", "files-2", peer="flink"),
    Contestant("flink-kafka", "flink_sql.py", "SQL, Kafka to files, one slot", "kafka-1", peer="flink", broker=True),
    Contestant("flink-kafka-2", "flink_sql.py", "SQL, Kafka to files, two slots", "kafka-2", peer="flink", broker=True),
    Contestant("statement", "one_statement.py", "limit: one SQL statement in embedded ClickHouse, one thread", "1"),
    Contestant("statement-all", "one_statement.py", "limit: the same on all cores", "default"),
    Contestant("msgspec", "decode_alone.py", "limit: typed decoding, nothing kept", "msgspec", answers=False),
    Contestant("orjson", "decode_alone.py", "limit: untyped decoding, nothing kept", "orjson", answers=False),
    Contestant(
        "consume", "consume_alone.py", "limit: confluent-kafka consuming, nothing looked at", broker=True, answers=False
    ),
)
