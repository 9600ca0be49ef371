"""ClickHouse roles: each can do its work in the real engine, and nothing else; and the migration that makes them.

The embedded engine checks rights as a server does and keeps no roles, so each role's rights are given to its one user.
Making them is shown as far as it goes here: the engine judges every statement up to the place where it would keep it,
and a stand-in that keeps them shows what is run when. `ANDON_TEST_CLICKHOUSE` names a server to make them on.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from schemas.errors import StoreRefused
from schemas.rows import ROW_TYPES
from sinks.clickhouse.migrate import Migration, applied, filled, migrate, shipped
from sinks.clickhouse.roles import ROLES, migrate_roles, missing_roles
from sinks.clickhouse.store import Answer, Parameters, Store, open_store
from tests.clickhouse_front import ClickHouseFront
from tests.clickhouse_stores import KINDS, SERVER, place
from tests.processes import ROOT, andon, environment

#: Frozen, as those of tests/test_clickhouse_migrate.py.
CHECKSUMS = {
    "0001_roles": "28e402ea14c4757924f800eacf586c288b542ac3b730c144e0c84efdd010f03a",
    "0002_dead_letters_but_raw": "be87b42360922c326823ee9b8e7c095adff06659c9cd18052b64fc37be5ef779",
}
VIEWS = re.findall(r"VIEW \{database\}\.(\w+)", "".join(migration.sql for migration in shipped()))
TABLES = re.findall(r"TABLE IF NOT EXISTS \{database\}\.(\w+)", "".join(migration.sql for migration in shipped()))
DENIED = "Not enough privileges"
CHANGES = (
    "DROP TABLE andon.signal_log",
    "TRUNCATE TABLE andon.signal_log",
    "ALTER TABLE andon.signal_log DELETE WHERE 1",
    "CREATE TABLE andon.other (a UInt8) ENGINE = Memory",
    "CREATE DATABASE other",
    "CREATE USER eve IDENTIFIED WITH no_password",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a UInt8')",
    "SELECT * FROM file('/etc/hostname', 'LineAsString')",
)


def statements() -> list[str]:
    """What is run for database `andon`, in order."""
    places = {"{database}.": "`andon`.", "{database}": "andon"}
    return [filled(one, places) for migration in shipped(ROLES) for one in migration.statements()]


def grants() -> dict[str, list[str]]:
    """What each role is granted, in the statements' order, without whom it is granted to."""
    found: dict[str, list[str]] = {}
    for statement in (one.replace("`", "") for one in statements()):
        if match := re.fullmatch(r"((?:GRANT|REVOKE) .+) (?:TO|FROM) (andon_\w+)", statement):
            found[match.group(2)].append(match.group(1))
        else:
            match = re.fullmatch(r"CREATE ROLE IF NOT EXISTS (andon_\w+)(?: SETTINGS .+)?", statement)
            assert match is not None, statement
            found[match.group(1)] = []
    return found


def as_role(role: str, database: Path, *steps: str) -> list[str]:
    """What the engine answers to a user who has that role and nothing else; `ok` for what is done."""
    queries = "".join(f"<query>{escape(grant)}</query>" for grant in grants()[role])
    return as_user(role, f"<grants>{queries}</grants>", database, *steps)


def as_user(name: str, rights: str, database: Path, *steps: str) -> list[str]:
    """What the engine answers to a user whose entry has `rights` in it; `ok` for what is done."""
    folder = database.parent / name
    folder.mkdir(exist_ok=True)
    (folder / "users.xml").write_text(
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password></password>"
        "<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
        f"{rights}</default></users></clickhouse>"
    )
    (folder / "config.xml").write_text(f"<clickhouse><users_config>{folder / 'users.xml'}</users_config></clickhouse>")
    command = [sys.executable, "-m", "tests.infra_as_role", str(database), str(folder / "config.xml")]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        input=json.dumps(steps),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: list[str] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by the role that makes it, filled by the one that fills it."""
    path = tmp_path_factory.mktemp("roles") / "db"
    assert as_role("andon_migrate", path, "migrate") == ["ok"]
    assert as_role("andon_write", path, "write") == ["ok"]
    return path


def test_the_views_and_tables_are_found() -> None:
    assert {"incidents", "dead_letters", "alerts"} <= set(VIEWS)
    assert len(TABLES) >= len(ROW_TYPES)


def test_the_job_can_write_and_read_and_change_nothing(database: Path) -> None:
    selects = [f"SELECT count() FROM andon.{view}" for view in VIEWS]
    assert set(as_role("andon_write", database, *selects)) == {"ok"}
    for statement, answer in zip(CHANGES, as_role("andon_write", database, *CHANGES), strict=True):
        assert DENIED in answer, statement


def test_the_job_can_not_say_what_is_applied(database: Path) -> None:
    insert = "INSERT INTO andon.schema_migrations (number, name, checksum) VALUES (9999, 'x', 'x')"
    (answer,) = as_role("andon_write", database, insert)
    assert DENIED in answer


def test_the_migrator_can_change_the_schema_and_write_no_rows(database: Path) -> None:
    assert as_role("andon_migrate", database, "migrate") == ["ok"]
    refused = [f"INSERT INTO andon.{TABLES[0]} SELECT * FROM andon.{TABLES[0]}"]
    refused += [statement for statement in CHANGES if not statement.startswith("CREATE TABLE andon.")]
    for statement, answer in zip(refused, as_role("andon_migrate", database, *refused), strict=True):
        assert DENIED in answer, statement


def test_analysts_read_all_but_raw_messages(database: Path) -> None:
    selects = [f"SELECT * FROM andon.{view}" for view in VIEWS]
    others = "SELECT * EXCEPT raw FROM andon.dead_letters", "SELECT * EXCEPT raw FROM andon.dead_letter_log FINAL"
    told = as_role("andon_analyse", database, *selects, *others)
    answers = dict(zip((*VIEWS, *others), told, strict=True))
    assert DENIED in answers.pop("dead_letters")
    assert set(answers.values()) == {"ok"}
    refused = (
        "SELECT raw FROM andon.dead_letter_log",
        "SELECT count() FROM andon.dead_letters WHERE raw LIKE '%@%'",
        "INSERT INTO andon.silence_log (silence_id) VALUES ('x')",
        *CHANGES,
    )
    for statement, answer in zip(refused, as_role("andon_analyse", database, *refused), strict=True):
        assert DENIED in answer, statement


def test_those_who_mend_read_dead_letters(database: Path) -> None:
    select, insert = "SELECT raw FROM andon.dead_letters", "INSERT INTO andon.silence_log (silence_id) VALUES ('x')"
    answers = as_role("andon_mend", database, select, insert)
    assert answers[0] == "ok"
    assert DENIED in answers[1]


def test_released_role_files_are_frozen_and_numbered_without_holes() -> None:
    assert {str(migration): migration.checksum for migration in shipped(ROLES)} == CHECKSUMS
    assert [migration.number for migration in shipped(ROLES)] == list(range(1, len(CHECKSUMS) + 1))
    for migration in shipped(ROLES):
        for statement in migration.statements():
            assert re.search(r"(ROLE IF NOT EXISTS|TO|FROM) \{database\}_\w+( SETTINGS .*)?$", statement), statement
            assert statement.startswith("CREATE ROLE") or " ON {database}." in statement, statement


def test_the_engine_takes_every_statement_up_to_keeping_it(database: Path) -> None:
    asked = [*statements(), "CREATE ROLE IF NOT EXISTS other SETTINGS no_such_setting = 1", "GRANT FLY ON andon.* TO x"]
    answers = as_user("administrator", "<access_management>1</access_management>", database, *asked)
    assert "UNKNOWN_SETTING" in answers[-2]
    assert "SYNTAX_ERROR" in answers[-1]
    for statement, answer in zip(asked[:-2], answers[:-2], strict=True):
        nowhere = "ACCESS_STORAGE_FOR_INSERTION_NOT_FOUND" if statement.startswith("CREATE ROLE") else "UNKNOWN_ROLE"
        assert nowhere in answer, statement


class Access:
    """Stands in for a server that keeps roles: takes what is said about roles, and tells which there are."""

    def __init__(self, store: Store, patch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self.roles: list[str] = []
        self._command, self._query = store.command, store.query
        patch.setattr(store, "command", self.command)
        patch.setattr(store, "query", self.query)

    def command(self, sql: str) -> str:
        if sql.startswith(("GRANT", "REVOKE", "CREATE ROLE")):
            self.said.append(sql)
            self.roles += re.findall(r"^CREATE ROLE IF NOT EXISTS (\w+)", sql)
            return ""
        return self._command(sql)

    def query(self, sql: str, parameters: Parameters | None = None) -> Answer:
        if "system.roles" in sql:
            return Answer(("name",), ("String",), [(role,) for role in self.roles], 0.0)
        return self._query(sql, parameters)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Store]:
    """A server's interface over the engine, with no database yet."""
    with ClickHouseFront(tmp_path / "db") as front, open_store(front.dsn) as store:
        yield store


def test_an_administrator_makes_the_roles_once(server: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(server, monkeypatch)
    assert missing_roles(server) == list(grants())
    assert migrate_roles(server) == shipped(ROLES)
    assert access.said == statements()
    assert missing_roles(server) == []
    assert {f"{one.number:04}_{one.name}": one.checksum for one in applied(server, ROLES)} == CHECKSUMS
    assert migrate_roles(server) == ()
    assert access.said == statements()
    migrate(server)  # the schema has a history of its own, and either may come first
    assert [entry.number for entry in applied(server)] == [migration.number for migration in shipped()]


def test_roles_that_the_server_has_lost_are_made_again(server: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(server, monkeypatch)
    migrate_roles(server)
    access.roles.remove("andon_mend")
    access.said.clear()
    assert missing_roles(server) == ["andon_mend"]
    assert migrate_roles(server) == shipped(ROLES)
    assert access.said == statements()
    assert len(applied(server, ROLES)) == len(shipped(ROLES))


def test_roles_of_a_newer_andon_are_left_alone(server: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(server, monkeypatch)
    migrate_roles(server)
    migrate(server, [*shipped(ROLES), Migration(99, "future", "GRANT SELECT ON {database}.* TO x;\n")], ROLES)
    access.roles.clear()
    access.said.clear()
    with pytest.raises(StoreRefused, match="newer Andon"):
        migrate_roles(server)
    assert access.said == []


def test_who_may_not_make_roles_is_told_so(tmp_path: Path) -> None:
    with ClickHouseFront(tmp_path / "db") as front:
        refused = andon("migrate", "--roles", "--clickhouse", front.dsn, cwd=tmp_path, check=False)
    assert refused.returncode == 1
    assert "grant SHOW ROLES" in refused.stderr


def test_the_embedded_engine_keeps_no_roles(tmp_path: Path) -> None:
    for more in ((), ("--status",)):
        refused = andon("migrate", "--roles", *more, cwd=tmp_path, check=False)
        assert refused.returncode == 1
        assert "roles are for a server" in refused.stderr


def test_the_statements_can_be_printed_and_run_elsewhere(tmp_path: Path) -> None:
    dsn = "https://nobody@127.0.0.1:1/shop"  # nobody is asked
    printed = andon("migrate", "--roles", "--print", "--clickhouse", dsn, cwd=tmp_path).stdout
    assert Migration(1, "x", printed).statements() == [one.replace("andon", "shop") for one in statements()]
    for wrong in (("--print",), ("--roles", "--print", "--status")):
        assert andon("migrate", *wrong, cwd=tmp_path, check=False).returncode == 2


@pytest.mark.skipif(SERVER not in KINDS, reason="ANDON_TEST_CLICKHOUSE names no server to make roles on")
def test_a_server_makes_the_roles(tmp_path: Path) -> None:
    with place(SERVER, tmp_path) as there, there.open() as store:
        names = [f"{store.database}{role.removeprefix('andon')}" for role in grants()]
        try:
            assert migrate_roles(store) == shipped(ROLES)
            assert missing_roles(store) == []
            assert migrate_roles(store) == ()
            for role in names:
                assert store.query(f"SHOW GRANTS FOR {role}").rows
        finally:
            store.command(f"DROP ROLE IF EXISTS {', '.join(names)}")
