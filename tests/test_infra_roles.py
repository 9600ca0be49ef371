"""ClickHouse roles: each can do its work in the real engine, and nothing else."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from schemas.rows import ROW_TYPES
from sinks.clickhouse.migrate import shipped
from tests.processes import ROOT, environment

ROLES = ROOT / "infra" / "clickhouse" / "roles.sql"
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


def grants() -> dict[str, list[str]]:
    """What each role is granted, in the statements' order, without whom it is granted to."""
    text = "\n".join(line for line in ROLES.read_text().splitlines() if not line.startswith("--"))
    found: dict[str, list[str]] = {}
    for statement in (one.strip() for one in text.split(";")):
        if match := re.fullmatch(r"((?:GRANT|REVOKE) .+) (?:TO|FROM) (andon_\w+)", statement):
            found[match.group(2)].append(match.group(1))
        elif match := re.fullmatch(r"CREATE ROLE IF NOT EXISTS (andon_\w+)(?: SETTINGS .+)?", statement):
            found[match.group(1)] = []
        else:
            assert not statement, statement
    return found


def as_role(role: str, database: Path, *steps: str) -> list[str]:
    """What the engine answers to a user who has that role and nothing else; `ok` for what is done."""
    folder = database.parent / role
    folder.mkdir(exist_ok=True)
    queries = "".join(f"<query>{escape(grant)}</query>" for grant in grants()[role])
    (folder / "users.xml").write_text(
        "<clickhouse><profiles><default/></profiles><quotas><default/></quotas><users><default><password></password>"
        "<networks><ip>::/0</ip></networks><profile>default</profile><quota>default</quota>"
        f"<grants>{queries}</grants></default></users></clickhouse>"
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


def test_the_migrator_can_change_the_schema_and_write_no_rows(database: Path) -> None:
    assert as_role("andon_migrate", database, "migrate") == ["ok"]
    refused = [f"INSERT INTO andon.{TABLES[0]} SELECT * FROM andon.{TABLES[0]}"]
    refused += [statement for statement in CHANGES if not statement.startswith("CREATE TABLE andon.")]
    for statement, answer in zip(refused, as_role("andon_migrate", database, *refused), strict=True):
        assert DENIED in answer, statement


def test_analysts_read_all_but_raw_messages(database: Path) -> None:
    selects = [f"SELECT * FROM andon.{view}" for view in VIEWS]
    answers = dict(zip(VIEWS, as_role("andon_analyse", database, *selects), strict=True))
    assert DENIED in answers.pop("dead_letters")
    assert set(answers.values()) == {"ok"}
    refused = (
        "SELECT raw FROM andon.dead_letter_log",
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
