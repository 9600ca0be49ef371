import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError, ProgrammingError

from schemas.errors import BlockRejected, StoreRefused, StoreUnavailable
from sinks.clickhouse import failures
from sinks.clickhouse.failures import readable, understood
from sinks.clickhouse.migrate import migrate
from sinks.clickhouse.pinned import INSERT, READ
from sinks.clickhouse.store import open_store
from tests.clickhouse_stores import ENGINE, KINDS, Place, place


@pytest.fixture(params=KINDS)
def there(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place(request.param, tmp_path) as found:
        yield found


def test_one_path_after_another_in_one_process(tmp_path: Path) -> None:
    for name in ("a", "b", "a"):
        with open_store(f"chdb://{tmp_path}/{name}") as store:
            assert store.query("SELECT 1 AS one").rows == [(1,)]


def test_two_paths_at_once_are_refused_in_words(tmp_path: Path) -> None:
    with (
        open_store(f"chdb://{tmp_path}/a"),
        pytest.raises(StoreRefused, match="one embedded database open at a time"),
    ):
        open_store(f"chdb://{tmp_path}/b")


def test_a_database_another_process_holds_is_refused_in_words(tmp_path: Path) -> None:
    code = f"from sinks.clickhouse.store import open_store\nopen_store('chdb://{tmp_path}/a')"
    with open_store(f"chdb://{tmp_path}/a"):
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert other.returncode != 0
    assert "StoreRefused" in other.stderr
    assert "another process has it open" in other.stderr


def test_without_chdb_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "chdb" or "chdb" in name.rsplit(".", 1)[-1]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "chdb", None)
    with pytest.raises(StoreRefused, match=r"pip install 'andon\[embedded\]'"):
        open_store(f"chdb://{tmp_path}/a")


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable, match="can't be reached"):
        open_store("http://127.0.0.1:1/andon")


def test_the_settings_that_matter_are_set_whatever_the_defaults_are(there: Place) -> None:
    with there.open() as store:
        known = {row[0] for row in store.query("SELECT name FROM system.settings").rows}
        if there.kind in ENGINE:
            assert set(INSERT) | set(READ) <= known, (
                "this engine has them all; an older server's gap would be seen here"
            )
        wanted = {name: value for name, value in READ.items() if name in known}
        names = ", ".join(f"toString(getSetting('{name}'))" for name in wanted)
        found = store.query(f"SELECT {names}").rows[0]
        assert [str(value).replace("true", "1").replace("false", "0") for value in found] == [
            str(value) for value in wanted.values()
        ]
        migrate(store)
        store.command(
            "CREATE TABLE s (x String) ENGINE = MergeTree ORDER BY x SETTINGS non_replicated_deduplication_window = 10"
        )
        for token in ("one", "one", "two"):
            store.insert("s", [["a"]], ["x"], token)
        assert store.query("SELECT count() FROM s").rows == [(2,)]


def test_a_missing_embedded_database_is_not_made_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a", "b"):
        with pytest.raises(StoreRefused, match=f"there is no database at {tmp_path}/{name} yet"):
            open_store(f"chdb://{tmp_path}/{name}", readonly=True)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["b"]


def test_a_read_only_store_reads_only(there: Place) -> None:
    with there.open() as store:
        migrate(store)
    with there.open(readonly=True) as store:
        for statement in (
            "DROP TABLE signal_log",
            "INSERT INTO signal_log (signal_id) VALUES ('x')",
            "SET readonly = 0",
            "TRUNCATE TABLE signal_log",
        ):
            with pytest.raises(StoreRefused, match="READONLY"):
                store.query(statement)
        with pytest.raises(StoreRefused, match="READONLY"):
            store.insert("signal_log", [["x"]], ["signal_id"], "token")
        assert store.query("SELECT count() FROM signals SETTINGS max_threads = 1").rows == [(0,)]


def test_an_answer_has_names_and_types_also_without_rows_and_says_when_there_is_more(there: Place) -> None:
    with there.open() as store:
        empty = store.query("-- why\nSELECT toDecimal64(1, 2) AS d, now64(6, 'UTC') AS t FROM numbers(0);")
        assert (empty.names, empty.types, empty.rows) == (
            ("d", "t"),
            ("Decimal(18, 2)", "DateTime64(6, 'UTC')"),
            [],
        )
        many = store.query("SELECT number FROM system.numbers", limit=3)
        assert (many.rows, many.more) == ([(0,), (1,), (2,)], True)
        assert not store.query("SELECT number FROM numbers(3)", limit=3).more
        assert store.query("SELECT {x:String} AS x", {"x": "it's {a} \\ ö"}).rows == [("it's {a} \\ ö",)]
        long = "ö\t\n'" * 20_000
        assert store.query("SELECT {x:String} AS x", {"x": long}).rows == [(long,)]


def test_bytes_and_wide_answers_come_whole(there: Place) -> None:
    with there.open() as store:
        found = store.query("SELECT unhex('FF00FE') AS raw", binary=True)
        assert found.rows == [(b"\xff\x00\xfe",)]
        wide = store.query("SELECT number, repeat('x', 100) FROM numbers(100000)").rows
        assert (len(wide), wide[-1]) == (100_000, (99_999, "x" * 100))


def test_errors_read_as_one_piece(there: Place) -> None:
    with there.open() as store:
        with pytest.raises(StoreRefused) as caught:
            store.query("SELECT nope FROM system.one", limit=5)
        assert (
            str(caught.value) == "Unknown expression identifier `nope`. In scope SELECT nope FROM system.one. "
            "(UNKNOWN_IDENTIFIER)"
        )
        with pytest.raises(StoreRefused) as caught:
            store.query("SELEC 1")
        assert len(str(caught.value)) < 120


def test_the_tables_of_codes_use_the_engines_names(tmp_path: Path) -> None:
    with open_store(f"chdb://{tmp_path}/a") as store:
        for code, name in (
            failures.UNAVAILABLE | failures.OF_THE_SYSTEM | failures.REJECTED | failures.MISFITS
        ).items():
            assert store.query(f"SELECT errorCodeToName({code})").rows == [(name,)]
    assert not set(failures.UNAVAILABLE) & set(failures.REJECTED)
    assert not set(failures.OF_THE_SYSTEM) & {*failures.UNAVAILABLE, *failures.REJECTED}
    assert not set(failures.MISFITS) & {*failures.UNAVAILABLE, *failures.REJECTED}


@pytest.mark.parametrize(
    ("code", "words", "kind"),
    [  # as the engine says them over a volume without a free inode, and with all files open that it may have
        (76, "Cannot open file db/store/a/data.bin: , errno: 28, strerror: No space left on device", StoreUnavailable),
        (76, "Cannot open file db/store/a/data.bin: , errno: 24, strerror: Too many open files", StoreUnavailable),
        (76, "Cannot open file db/store/a/data.bin: , errno: 13, strerror: Permission denied", StoreRefused),
        (
            1001,
            'std::__1::filesystem::filesystem_error: in create_directories: No space left on device ["db"]',
            StoreUnavailable,
        ),
        (1001, "std::__1::filesystem::filesystem_error: filesystem error: in rename: No such file", StoreRefused),
        (117, "No space left on device", BlockRejected),
        (62, "Syntax error: failed at position 8 ('No space left on device')", StoreRefused),
    ],
)
def test_a_system_that_is_short_of_something_is_waited_for(code: int, words: str, kind: type[Exception]) -> None:
    assert type(understood(DatabaseError(f"Code: {code}. DB::ErrnoException: {words}"), inserting=True)) is kind


def test_errors_are_sorted_by_what_helps() -> None:
    assert (
        type(understood(DatabaseError("Code: 252. DB::Exception: Too many parts", code=252), inserting=True))
        is StoreUnavailable
    )
    for code in (201, 241, 242):  # a quota's next interval, memory and a writable replica come by themselves
        assert (
            type(understood(DatabaseError("Code: 1. DB::Exception: no", code=code), inserting=True)) is StoreUnavailable
        )
    assert type(understood(DatabaseError("Code: 117. DB::Exception: bad", code=117), inserting=True)) is BlockRejected
    assert type(understood(DatabaseError("Code: 117. DB::Exception: bad", code=117))) is StoreRefused
    assert type(understood(DatabaseError("Code: 497. DB::Exception: no", code=497), inserting=True)) is StoreRefused
    assert type(understood(DatabaseError("HTTP driver received HTTP status 502"), inserting=True)) is StoreUnavailable
    assert type(understood(OperationalError("Connection reset by peer"), inserting=True)) is StoreUnavailable
    assert type(understood(ConnectionResetError("reset"), inserting=True)) is StoreUnavailable
    assert type(understood(DataError("no array"), inserting=True)) is BlockRejected
    assert type(understood(ValueError("no int"), inserting=True)) is BlockRejected
    assert type(understood(ProgrammingError("Unrecognized column"), inserting=True)) is StoreRefused
    for sign in ("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed", "Unexpected response to version query: 'hello'"):
        assert type(understood(OperationalError(f"Error {sign} (https://ch1:8443)"))) is StoreRefused
    assert type(understood(DatabaseError("HTTP driver received HTTP status 404"), inserting=True)) is StoreRefused
    assert type(understood(DatabaseError("HTTP driver received HTTP status 413"), inserting=True)) is BlockRejected
    assert type(understood(DatabaseError("Code: 16. DB::Exception: no", code=16), inserting=True)) is StoreRefused
    assert (
        readable("Code: 60. DB::Exception: No table. (UNKNOWN_TABLE) (version 26.2.4.23 (official build))")
        == "No table. (UNKNOWN_TABLE)"
    )
