"""A client that has lost its broker for good is made anew.

librdkafka forgets every broker that an answer to `Metadata` does not name. One that names none, as a broker gives whose
controller takes it for dead (or in a rolling upgrade), can leave a client that never goes back to `bootstrap.servers`,
with either `metadata.recovery.strategy` (seen with 2.16; issue 5301 there). To us that is the same as a broker that is
away, but for what a new client hears.
"""

import threading

from confluent_kafka import Consumer

#: A client that had no answer for so long is made anew: longer than a request is waited for, with one more try.
LOST_S = 30.0


def let_go(client: Consumer) -> None:
    """Close a client that nobody uses any more, beside: it waits for answers that may never come."""
    threading.Thread(target=client.close, name="closing", daemon=True).start()
