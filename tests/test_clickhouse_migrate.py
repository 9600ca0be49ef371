import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.errors import StoreRefused
from schemas.rows import ROW_TYPES, DeadLetter, HandoffPass
from sinks.clickhouse.dsn import Server
from sinks.clickhouse.migrate import Migration, applied, empty, filled, migrate, pending, require_current, shipped
from sinks.clickhouse.store import Store, open_store
from sinks.clickhouse.writer import BlockWriter
from tests.clickhouse_stores import KINDS, place

#: Frozen: a released migration is never edited. Add a line for a new one; a changed line is a broken
#: database.
CHECKSUMS = {
    "0001_tables": "2ec182307453065debc2bd1f4fb33fb313cc0f23305de158a8c30ffa45755698",
    "0002_views": "81e43f2449624d85a36146382523b3e3800e2432cac87986da2b61931f6233e2",
    "0003_incident_tables": "ac8688fd0394b78618ac0a6cc7f1a1582b8f0c8d69a8e9243f0262eb03a40dd8",
    "0004_incident_views": "d1be69e4e251e9adeeedc96fca435f80089d4d77acf8baa3fac10d1c2693bc61",
    "0005_promotion_readiness": "a3986897a4ab3809437a248e1c600da054e3d84ceb38c41764282af43e5c8e98",
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with place(request.param, tmp_path) as there, there.open() as opened:
        yield opened


def _schema(store: Store) -> list[tuple[object, ...]]:
    return store.query(
        "SELECT name, create_table_query FROM system.tables WHERE database = {database:String} ORDER BY name",
        {"database": store.database},
    ).rows


def test_released_migrations_are_frozen_and_numbered_without_holes() -> None:
    assert {str(migration): migration.checksum for migration in shipped()} == CHECKSUMS
    assert [migration.number for migration in shipped()] == list(range(1, len(CHECKSUMS) + 1))


def test_forwards_and_again(store: Store) -> None:
    with pytest.raises(StoreRefused, match="run `andon migrate`"):
        require_current(store)
    assert [str(migration) for migration in migrate(store)] == list(CHECKSUMS)
    require_current(store)
    first = _schema(store)
    assert {record.TABLE for record in ROW_TYPES} <= {name for name, _ in first}
    assert migrate(store) == ()
    assert _schema(store) == first
    assert [(entry.number, entry.checksum) for entry in applied(store)] == [(m.number, m.checksum) for m in shipped()]


def test_every_statement_can_be_run_again(store: Store) -> None:
    migrate(store)
    first = _schema(store)
    store.command("TRUNCATE TABLE schema_migrations")  # as if killed before the record
    migrate(store)
    assert _schema(store) == first


def test_a_migration_killed_half_way_is_run_again(store: Store) -> None:
    whole = shipped()
    half = msgspec.structs.replace(
        whole[0],
        sql=whole[0].sql.split("CREATE TABLE IF NOT EXISTS {database}.stock_windows")[0] + "SELEC 1 2;\n",
    )
    with pytest.raises(StoreRefused, match="SYNTAX_ERROR"):
        migrate(store, [half])
    assert applied(store) == ()
    assert migrate(store) == whole
    require_current(store)


def test_an_edited_migration_is_refused(store: Store) -> None:
    migrate(store)
    edited = [msgspec.structs.replace(shipped()[0], sql="SELECT 1;\n"), *shipped()[1:]]
    with pytest.raises(StoreRefused, match=r"0001_tables was applied .* must not be edited"):
        migrate(store, edited)


def test_a_database_of_a_newer_andon_is_refused(store: Store) -> None:
    migrate(store, [*shipped(), Migration(99, "future", "SELECT 1;\n")])
    with pytest.raises(StoreRefused, match=r"newer Andon .to 0099_future"):
        pending(store)


def test_a_new_migration_is_applied_alone(store: Store) -> None:
    migrate(store)
    new = Migration(
        len(CHECKSUMS) + 1,
        "note",
        "-- why;\nCREATE TABLE IF NOT EXISTS {database}.note (x String) ENGINE = {replicated}MergeTree ORDER BY x;\n",
    )
    assert migrate(store, [*shipped(), new]) == (new,)
    found = store.query(
        "SELECT engine FROM system.tables WHERE database = {database:String} AND name = 'note'",
        {"database": store.database},
    )
    assert found.rows == [("MergeTree",)]


def test_a_view_of_ones_own_is_made_as_the_guide_says_and_outlives_migrations_and_a_fresh_start(store: Store) -> None:
    guide = (Path(__file__).parents[1] / "docs/clickhouse.md").read_text(encoding="utf-8")
    part = guide.partition("### A view of your own")[2].partition("\n### ")[0].partition("\n## ")[0]
    indented = "\n".join(line[4:] for line in part.splitlines() if line.startswith("    "))
    statements = Migration(1, "guide", indented.replace("andon.", f"{store.database}.")).statements()
    assert len(statements) == 2
    own, read = f"{store.database}_own", re.search(r'andon sql "(.*)"', part)
    assert read is not None
    migrate(store)
    try:
        for statement in (*statements, *statements):
            store.command(statement.replace("analytics", own))
        late = HandoffPass("pick", "o1", "", "node", "n1", 1, None, None, 2, "overdue", 3, 3)
        for _ in range(2):
            writer = BlockWriter(store, "run")
            writer.write([late])
            writer.flush()
            assert store.query(read[1].replace("analytics", own)).rows == [("n1", 1)]
            empty(store)
            assert migrate(store) == ()
            assert store.query(read[1].replace("analytics", own)).rows == []
    finally:
        store.command(f"DROP DATABASE IF EXISTS {own} SYNC")


@pytest.mark.parametrize("name", ["table", "function", "select", "order", "null", "all", "view", "Default", "_1"])
def test_a_database_may_be_named_by_a_word_of_sql(name: str, tmp_path: Path) -> None:
    with place("http", tmp_path) as there:
        assert isinstance(there.target, Server)
        target = msgspec.structs.replace(there.target, database=name)
        with open_store(target) as store:
            try:
                assert migrate(store) == shipped()
                assert migrate(store) == ()
                require_current(store)
                letter = DeadLetter("orders", 0, 1, "schema", "order_id", "is missing", "shop", "", b"{}", 5)
                writer = BlockWriter(store, "run")
                writer.write([letter])
                writer.flush()
                assert store.query("SELECT path FROM dead_letters").rows == [("order_id",)]
                empty(store)
                assert store.query("SELECT path FROM dead_letters").rows == []
            finally:
                store.command(f"DROP DATABASE IF EXISTS `{name}` SYNC")


def test_on_a_replicated_database_the_tables_are_replicated() -> None:
    """As text only: the embedded engine has no Keeper to make such a database with."""
    for replicated, engine in (("", "ENGINE = Replacing"), ("Replicated", "ENGINE = ReplicatedReplacing")):
        for statement in shipped()[0].statements():
            text = filled(statement, {"{database}": "andon", "{replicated}": replicated})
            assert engine in text
            assert "{" not in text


def test_statements_are_split_at_the_end_of_a_line_only() -> None:
    text = "-- a; b\nSELECT ';' AS x,\n  1;\n\nSELECT 2; \nSELECT 3"
    assert Migration(1, "x", text).statements() == ["SELECT ';' AS x,\n  1", "SELECT 2", "SELECT 3"]


def test_the_files_mention_no_database_by_name_and_import_nothing() -> None:
    for migration in shipped():
        assert not re.search(r"(FROM|TABLE|VIEW|EXISTS) +andon\.", migration.sql)
        for statement in migration.statements():
            assert statement.startswith(
                ("CREATE TABLE IF NOT EXISTS {database}.", "CREATE OR REPLACE VIEW {database}.")
            ), statement
