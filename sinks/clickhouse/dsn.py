"""Where the database is, as a person writes it: `chdb:///path` or `http(s)://user@host:port/database`."""

import os
import re
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

import msgspec

from schemas.errors import SettingsError
from schemas.problems import Problem

ACCEPTS = 'must be "chdb:///PATH" ("chdb:///./andon.db" is relative) or "http(s)://USER@HOST:PORT/DATABASE"'
PASSWORD_VARIABLE = "ANDON_CLICKHOUSE_PASSWORD"  # noqa: S105 - the name of the variable, not a secret
DEFAULT_DATABASE = "andon"

_DATABASE = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
#: ClickHouse's own, in any letters.
_TAKEN = ("system", "information_schema")
_PORTS = {"http": 8123, "https": 8443}
_KEY = "clickhouse"


class Embedded(msgspec.Struct, frozen=True):
    """The embedded engine over a directory."""

    path: Path
    database: str = DEFAULT_DATABASE

    def __str__(self) -> str:
        """The DSN that names it."""
        return f"chdb://{self.path}" if self.path.is_absolute() else f"chdb:///./{self.path}"


class Server(msgspec.Struct, frozen=True):
    """A server's HTTP interface. The password is no part of it."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    user: str = "default"
    database: str = DEFAULT_DATABASE

    def __str__(self) -> str:
        """The DSN that names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{self.user}@{host}:{self.port}/{self.database}"


Target: TypeAlias = Embedded | Server


def parse_dsn(dsn: str, file: str = "--clickhouse") -> Target:
    """Read a DSN; `file` says in a problem where it was written.

    Raises:
        SettingsError: it is not one, or carries a password (which is then not repeated in the message).
    """
    dsn = _masked(dsn.strip())  # what has something to mask is refused below, in words that may repeat any part of it
    try:
        parts = urlsplit(dsn)
        port = parts.port
        parts.hostname  # noqa: B018 - a bad IPv6 address shows only when asked for
    except ValueError as error:
        raise _refused(file, dsn, f"{ACCEPTS}; {error}") from None
    if parts.password is not None:
        words = f"must not hold a password; give it in {PASSWORD_VARIABLE} or in a file named by password_file"
        raise _refused(file, dsn, words)
    if parts.query or parts.fragment:
        raise _refused(file, dsn, f"{ACCEPTS}, and nothing behind that")
    if parts.scheme == "chdb":
        return _embedded(dsn, parts, file)
    if parts.scheme in _PORTS and parts.hostname:
        database = parts.path.strip("/") or DEFAULT_DATABASE
        if not _DATABASE.match(database):
            words = f"database {database!r} must be letters, digits and _, not beginning with a digit, at most 64"
            raise _refused(file, dsn, words)
        if database.lower() in _TAKEN:
            raise _refused(file, dsn, f"database {database!r} is one of ClickHouse's own: name another")
        if port == 0:
            raise _refused(file, dsn, "port must be between 1 and 65535")
        scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
        return Server(scheme, parts.hostname, port or _PORTS[scheme], unquote(parts.username or "default"), database)
    raise _refused(file, dsn, ACCEPTS)


def quoted(database: str) -> str:
    """The database's name as it stands in SQL, where an unquoted one such as `table` or `function` would be a word."""
    return f"`{database}`"


def read_password(password_file: str | None = None) -> str | None:
    """The password: the first line of `password_file` or, without that, from the environment; None if none.

    Raises:
        SettingsError: the file can't be read or is empty.
    """
    if password_file is None:
        return os.environ.get(PASSWORD_VARIABLE)
    try:
        lines = Path(password_file).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:  # a ValueError: it is not UTF-8 text, or no file can be called so
        reason = (
            "not UTF-8 text" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        )
        words = f"can't be read: {reason}"
        raise _refused("clickhouse", password_file, words, "password_file") from None
    if not lines or not lines[0]:
        raise _refused(
            "clickhouse",
            password_file,
            "must hold the password in its first line, and is empty",
            "password_file",
        )
    return lines[0]


def _embedded(dsn: str, parts: SplitResult, file: str) -> Embedded:
    path = unquote(parts.path)
    if parts.netloc:
        raise _refused(file, dsn, f'{ACCEPTS}: three slashes, for example "chdb:///./{parts.netloc}"')
    if path.startswith("/./"):
        path = path.removeprefix("/./")
    elif path.startswith("//"):
        path = "/" + path.lstrip("/")
    if not path.strip("/.") or "\0" in path or ":memory:" in path:
        raise _refused(file, dsn, f"{ACCEPTS}: it needs the path of a directory to keep the database in")
    return Embedded(Path(path))


def _masked(dsn: str) -> str:
    """Without what may be a password: before the `@` (also where the scheme was left out), in a query, behind `#`."""
    named = re.sub(r"(?s)^((?:\w+://)?[^:/@]*):(?!//).*@", r"\1:***@", dsn)
    return re.sub(r"(?s)([?#]).+", r"\1***", named)


def _refused(file: str, value: str, expected: str, key: str = _KEY) -> SettingsError:
    return SettingsError([Problem(file, key, f'"{value}"', expected)])
