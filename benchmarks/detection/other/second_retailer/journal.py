"""What the log gets: messages with their way to it, its noise, and the files at the end.

Every message takes a lognormal time to the log (below 5 s), 0.1 % take up to four minutes; 0.2 % come twice; 0.01 %
break the contract. Clocks of sources are off by up to 0.3 s. Times are seconds since 1970.
"""

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from schemas.events import TOPIC_OF
from second_retailer.retailer import ZONE, Source

Message = dict[str, Any]
TOPICS = ("inventory", "reservations", "orders", "fulfillment", "erp", "supply", "commerce", "integration")


def iso(moment: float, *, local: bool = False) -> str:
    at = datetime.fromtimestamp(round(moment, 3), UTC)
    if local:
        return at.astimezone(ZONE).isoformat(timespec="milliseconds")
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def money(amount: float) -> str:
    return f"{amount:.2f}"


class Journal:
    """Collect messages that arrive in `[begin, end)`.

    `clock` gives what a source's clock is off by, `rewrite` may change a message or take it away (None), `arrive`
    may shift an arrival: three places where a run can be disturbed.
    """

    def __init__(self, begin: float, end: float, seed: int) -> None:
        self.begin, self.end = begin, end
        self.clock: Callable[[str, float], float] | None = None
        self.rewrite: Callable[[Message, float], Message | None] | None = None
        self.arrive: Callable[[float], float] | None = None
        self.duplicates: Callable[[float], float] = lambda _at: 0.002
        self._rng = random.Random(f"{seed}:journal")
        self._rows: dict[str, list[tuple[float, int, bytes]]] = {topic: [] for topic in TOPICS}
        self._numbers: dict[str, int] = {}
        self._drift: dict[str, float] = {}

    def emit(
        self,
        kind: str,
        source: Source,
        at: float,
        fields: Message,
        *,
        wait: float = 0.0,
        channel: str = "",
        region: str = "",
    ) -> None:
        """Write one event that happened at `at` and lay `wait` seconds before it went to the log."""
        rng = self._rng
        arrival = at + wait + min(4.8, rng.lognormvariate(math.log(source.median_s), 0.6))
        if rng.random() < 0.001:
            arrival += rng.uniform(20, 240)
        if not self.begin - 600 <= arrival < self.end:
            return
        drift = self._drift.setdefault(source.name, rng.uniform(-0.3, 0.3))
        if self.clock is not None:
            drift += self.clock(source.name, at)
        number = self._numbers[source.name] = self._numbers.get(source.name, 0) + 1
        message: Message = {
            "event_id": f"{source.name}~{number:x}",
            "type": kind,
            "version": 1,
            "source": source.name,
            "system": source.system,
            "occurred_at": iso(at + drift, local=source.local),
        }
        if channel:
            message["channel"] = channel
        if region:
            message["region"] = region
        message |= fields
        if self.rewrite is not None:
            rewritten = self.rewrite(message, at)
            if rewritten is None:
                return
            message = rewritten
        if rng.random() < 0.0001:
            message["occurred_at"] = message["occurred_at"][:19]  # the zone is lost
        self._write(kind, message, arrival)
        if rng.random() < self.duplicates(at):
            self._write(kind, message, arrival + rng.expovariate(1 / 6))

    def _write(self, kind: str, message: Message, arrival: float) -> None:
        moment = arrival if self.arrive is None else self.arrive(arrival)
        if not self.begin <= moment < self.end:
            return
        message["recorded_at"] = iso(moment)
        rows = self._rows[TOPIC_OF[kind]]
        rows.append((round(moment, 3), len(rows), orjson.dumps(message)))

    def save(self, folder: Path) -> dict[str, int]:
        """A file for each topic, sorted by arrival; returns how many messages each has."""
        folder.mkdir(parents=True, exist_ok=True)
        for topic, rows in self._rows.items():
            rows.sort()
            with (folder / f"{topic}.jsonl").open("wb") as out:
                out.writelines(raw + b"\n" for _, _, raw in rows)
        return {topic: len(rows) for topic, rows in self._rows.items()}
