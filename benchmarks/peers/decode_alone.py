"""Limits: decoding the messages of the merged file, nothing kept. Variants: `msgspec` (typed), `orjson`."""

import msgspec
import orjson
from entry import entry

from schemas.events import Event

if __name__ == "__main__":
    run = entry()
    decode = msgspec.json.Decoder(Event).decode if run.variant == "msgspec" else orjson.loads
    with run.timed(), run.arrival.open("rb") as lines:
        for line in lines:
            decode(line)
    run.done()
