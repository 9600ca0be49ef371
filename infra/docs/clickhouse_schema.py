"""docs/clickhouse-schema.md: every view and table with its columns, as the migrations' comments say.

It is read from a database that all migrations were applied to (embedded, thrown away), so it says what is there.
"""

import tempfile
from collections.abc import Iterator

from markdown import table

from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.store import Store, open_store

_HEAD = """# ClickHouse: every view, table and column

Written by `infra/docs/build.py` from a database that all migrations were applied to; the words are the comments of
`sinks/clickhouse/migrations/`. `DESCRIBE handoffs` shows the same. How the views are meant to be used stands in
[ClickHouse](clickhouse.md), queries to take away in the [cookbook](cookbook.md).

Times are UTC. NULL means "not there", never 0.

"""
_TABLES = """
## Tables

What the views read. A table holds every version of a row that was written; query the views.
"""
_KINDS = """
SELECT name, comment, engine = 'View' AS is_view, engine, sorting_key, extract(engine_full, 'TTL (.+?)( SETTINGS|$)')
FROM system.tables WHERE database = {database:String}
ORDER BY name
"""
_COLUMNS = """
SELECT name, type, comment FROM system.columns WHERE database = {database:String} AND table = {table:String}
ORDER BY position
"""


def page() -> str:
    """The whole page."""
    with tempfile.TemporaryDirectory() as folder, open_store(f"chdb://{folder}/andon") as store:
        migrate(store)
        return _HEAD + "".join(_parts(store)).rstrip() + "\n"


def _parts(store: Store) -> Iterator[str]:
    found = store.query(_KINDS, {"database": store.database}).rows
    views = [row for row in found if row[2]]
    tables = [row for row in found if not row[2]]
    yield "## Views\n"
    for name, comment, *_ in views:
        yield f"\n### `{name}`\n\n{comment}.\n\n{_columns(store, str(name))}"
    yield _TABLES
    for name, comment, _, engine, key, ttl in tables:
        kept = f" Kept by `{ttl}`." if ttl else " Kept for ever."
        yield f"\n### `{name}`\n\n{comment}. `{engine}`, ordered by `{key}`.{kept}\n\n{_columns(store, str(name))}"


def _columns(store: Store, name: str) -> str:
    rows = store.query(_COLUMNS, {"database": store.database, "table": name}).rows
    return table(("column", "type", "what it is"), [(f"`{one}`", f"`{kind}`", said) for one, kind, said in rows])
