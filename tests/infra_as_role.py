"""What a role may do, asked in the real engine: `python -m tests.infra_as_role DATABASE CONFIG` with steps on input.

The embedded engine knows one user and takes its grants from a configuration file; an engine has one configuration, so
each role has a process of its own. A step is `migrate`, `write` or a statement; the answer is a line for each: `ok`, or
the words of the refusal.
"""

import json
import sys
from pathlib import Path

from schemas.errors import StoreError
from sinks.clickhouse.dsn import Embedded
from sinks.clickhouse.migrate import migrate, require_current
from sinks.clickhouse.store import Store, open_store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_rows import ONE_OF_EACH


def _step(store: Store, step: str) -> None:
    if step == "migrate":
        migrate(store)
    elif step == "write":
        require_current(store)
        writer = BlockWriter(store, "run")
        writer.write(ONE_OF_EACH)
        writer.flush()
    elif step.startswith("SELECT"):
        store.query(step)
    else:
        store.command(step)


def main() -> None:
    database, config = sys.argv[1:]
    answers = []
    with open_store(Embedded(Path(f"{database}?config-file={config}"))) as store:
        for step in json.load(sys.stdin):
            try:
                _step(store, step)
                answers.append("ok")
            except StoreError as error:
                answers.append(str(error))
    print(json.dumps(answers))  # noqa: T201 - its answer


if __name__ == "__main__":
    main()
