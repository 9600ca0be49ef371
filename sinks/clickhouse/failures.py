"""Which of our errors a failure of driver or engine is, decided in one table by what helps against it."""

import re
from collections.abc import Iterator

from schemas.errors import BlockRejected, StoreError, StoreRefused, StoreUnavailable

#: Passing: the same request can succeed later. The names are checked against the engine's own in a test.
UNAVAILABLE: dict[int, str] = {
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    33: "CANNOT_READ_ALL_DATA",
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    198: "DNS_ERROR",
    201: "QUOTA_EXCEEDED",
    202: "TOO_MANY_SIMULTANEOUS_QUERIES",
    203: "NO_FREE_CONNECTION",
    209: "SOCKET_TIMEOUT",
    210: "NETWORK_ERROR",
    225: "NO_ZOOKEEPER",
    236: "ABORTED",
    241: "MEMORY_LIMIT_EXCEEDED",
    242: "TABLE_IS_READ_ONLY",
    243: "NOT_ENOUGH_SPACE",
    252: "TOO_MANY_PARTS",
    279: "ALL_CONNECTION_TRIES_FAILED",
    285: "TOO_FEW_LIVE_REPLICAS",
    286: "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    289: "REPLICA_IS_NOT_IN_QUORUM",
    319: "UNKNOWN_STATUS_OF_INSERT",
    373: "SESSION_IS_LOCKED",
    394: "QUERY_WAS_CANCELLED",
    425: "SYSTEM_ERROR",
    439: "CANNOT_SCHEDULE_TASK",
    473: "DEADLOCK_AVOIDED",
    499: "S3_ERROR",
    700: "USER_SESSION_LIMIT_EXCEEDED",
    733: "TABLE_IS_BEING_RESTARTED",
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
    1000: "POCO_EXCEPTION",
}

#: What the system refuses the engine: passing where that is for want of room, files or memory, as `_SHORT` says.
OF_THE_SYSTEM: dict[int, str] = {
    75: "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
    76: "CANNOT_OPEN_FILE",
    173: "CANNOT_ALLOCATE_MEMORY",
    1001: "STD_EXCEPTION",
}
_SHORT = re.compile(
    r"No space left on device|Disk quota exceeded|Too many open files|Cannot allocate memory|Read-only file system"
    r"|std::bad_alloc"
)

#: For what is in the block: sent again unchanged it fails again.
REJECTED: dict[int, str] = {
    6: "CANNOT_PARSE_TEXT",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    128: "TOO_LARGE_ARRAY_SIZE",
    131: "TOO_LARGE_STRING_SIZE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    407: "DECIMAL_OVERFLOW",
    469: "VIOLATED_CONSTRAINT",
    691: "UNKNOWN_ELEMENT_OF_ENUM",
}

#: An insert that does not fit its table: each row of it would fail in the same way.
MISFITS: dict[int, str] = {
    8: "THERE_IS_NO_COLUMN",
    10: "NOT_FOUND_COLUMN_IN_BLOCK",
    16: "NO_SUCH_COLUMN_IN_TABLE",
    20: "NUMBER_OF_COLUMNS_DOESNT_MATCH",
}

#: A block takes more memory than one statement may (`max_memory_usage`), however idle the server is: half of it fits.
_MEMORY = 241
_TOO_MUCH = re.compile(r"Query memory limit exceeded|Memory limit \(for query\) exceeded")

_SCHEMA = "is the schema up to date? `andon migrate --status` says"
#: Refusals where the engine's own words leave the reader without the next step.
REMEDIES: dict[int, str] = {
    60: _SCHEMA,
    81: "the database does not exist yet: run `andon migrate`",
    164: "this only reads; what writes goes through `andon replay`, `andon run` and `andon migrate`",
    192: "check the user in the DSN",
    194: "check the password (ANDON_CLICKHOUSE_PASSWORD or password_file)",
    497: "the user lacks this right: GRANT it, see docs/clickhouse.md",
    516: "check the user in the DSN and the password (ANDON_CLICKHOUSE_PASSWORD or password_file)",
}

_CODE = re.compile(r"\bCode: (\d+)")
_NOISE = re.compile(
    r"Code: \d+\. |DB::Exception: |Received ClickHouse exception, code: \d+, server response: "
    r"| SETTINGS max_result_rows = '\d+', result_overflow_mode = 'break'|\n? ?FORMAT Native\b"
    r"| ?\(for url [^)]*\)"
    r"|: In scope SELECT formatQuery\(.*\)(?=\. \(SYNTAX_ERROR\))",
    re.DOTALL,
)
_EXPECTED = re.compile(r"\. Expected one of: (?:[^,]+, ){8,}[^,]+(?=\. \(SYNTAX_ERROR\))")
#: Where the engine stopped reading, and what stands there.
_PLACE = re.compile(r"failed at position (\d+) .*?(?=\.? (?:Unmatched|Expected) |[. ]*\(SYNTAX_ERROR\))", re.DOTALL)
_TRAILER = re.compile(r"\s*\(version (?:[^()]|\([^()]*\))*\)\s*$")
#: What the embedded engine says when it can't open its directory (it prints the details to standard error
#: itself).
_OPENING = {
    "EmbeddedServer already initialized": "one process can have one embedded database "
    "open at a time: close the other first",
    "Error initializing EmbeddedServer": "the embedded database can't be opened: another process has it open "
    "(stop that, or use a server), or this user may not write to its directory",
}
#: What happened on the way to a server, by the class of the error that says it best.
_ON_THE_WAY = {
    "ReadTimeoutError": "no answer in time",
    "ConnectTimeoutError": "no connection in time",
    "NameResolutionError": "there is no host of this name",
    "ConnectionRefusedError": "connection refused",
    "RemoteDisconnected": "it closed the connection without an answer",
    "ConnectionResetError": "connection reset",
    "BrokenPipeError": "connection reset",
    "_IncompleteResponseError": "it closed the connection in the middle of an answer",
}
#: What no waiting helps against: whoever answers there is not the ClickHouse that the DSN means.
_SOMEONE_ELSE = {
    "CERTIFICATE_VERIFY_FAILED": "its certificate can't be verified; check host and certificate authorities",
    "WRONG_VERSION_NUMBER": "it does not speak TLS; check scheme and port in the DSN",
    "too many redirects": "it sends elsewhere; check scheme, host and port in the DSN",
    "Unexpected response to": "what answers is not ClickHouse; check host and port in the DSN",
}
_ADDRESS = re.compile(r"\((?:for url )?(https?://[^\s)]+)\)")
_STATUS = re.compile(r"HTTP driver received HTTP status (\d+)")
#: Of the statuses below 500 that come without ClickHouse's word: what passes, and "too large" (from a proxy).
_PASSING_STATUSES = frozenset({408, 425, 429})
_TOO_LARGE = 413


def understood(error: Exception, *, inserting: bool = False, query: str = "") -> StoreError:
    """Our error for `error`, whatever the driver raised, of `query` if it was one.

    A failure with an engine code goes by the tables above, and is otherwise refused: what nobody understands
    must not be retried for ever. One without a code is the way to the server (unavailable), except what the
    driver raises before anything was sent: that is the block (rejected) or the schema (refused).
    """
    text = str(error)
    code = getattr(error, "code", None)
    if code is None:
        found = _CODE.search(text)
        code = int(found.group(1)) if found else None
    if code is None:
        return _without_code(error, text, inserting=inserting)
    for sign, advice in _OPENING.items():
        if sign in text:
            return StoreRefused(advice)
    words = _in_the_query(readable(text), query)
    if inserting and (code in REJECTED or (code == _MEMORY and _TOO_MUCH.search(words))):
        return BlockRejected(words)
    if code in UNAVAILABLE or (code in OF_THE_SYSTEM and _SHORT.search(words)):
        return StoreUnavailable(words)
    remedy = _SCHEMA if inserting and code in MISFITS else REMEDIES.get(code)
    return StoreRefused(f"{words}; {remedy}" if remedy else words)


def readable(text: str) -> str:
    """The engine's message in one piece, without prefixes, trace and version; its symbolic name stays."""
    words = _NOISE.sub("", text.split("Stack trace:", 1)[0]).strip()
    return _EXPECTED.sub("", _TRAILER.sub("", words)).rstrip(" ,.")


def _in_the_query(words: str, query: str) -> str:
    """A syntax error behind the end of `query` is said of its end: what stands there the driver has added."""
    place = _PLACE.search(words)
    if place is None or not query or int(place[1]) <= len(query.encode()):
        return words
    return f"{words[: place.start()]}the query breaks off, something is missing at its end{words[place.end() :]}"


def _without_code(error: Exception, text: str, *, inserting: bool) -> StoreError:
    from clickhouse_connect.driver import exceptions  # noqa: PLC0415 - the driver is loaded when a store is opened

    if isinstance(error, exceptions.DataError) or not isinstance(error, (exceptions.ClickHouseError, OSError)):
        return BlockRejected(f"{type(error).__name__}: {text}") if inserting else StoreRefused(text)
    if isinstance(error, (exceptions.ProgrammingError, exceptions.NotSupportedError)):
        return StoreRefused(f"{text}; {_SCHEMA}")
    found = _ADDRESS.search(text)
    where = f"ClickHouse at {found.group(1)}" if found else "ClickHouse"
    for sign, words in _SOMEONE_ELSE.items():
        if sign in text:
            return StoreRefused(f"{where} can't be used: {words}")
    return _by_status(error, text, where, inserting=inserting)


def _by_status(error: Exception, text: str, where: str, *, inserting: bool) -> StoreError:
    """Where ClickHouse itself has not spoken: a proxy's status, or nobody at all."""
    found = _STATUS.search(text)
    status = int(found.group(1)) if found else None
    if status == _TOO_LARGE and inserting:
        return BlockRejected(f"{where} is behind a proxy that takes no request of this size (HTTP status 413)")
    if status is not None and status < 500 and status not in _PASSING_STATUSES:
        return StoreRefused(
            f"{where} can't be used: what answers (HTTP status {status}) is not ClickHouse; "
            "check scheme, host and port in the DSN"
        )
    happened = next((_ON_THE_WAY[name] for name in _names(error) if name in _ON_THE_WAY), None)
    if happened is None:
        first = "" if status is not None else _ADDRESS.sub("", readable(text)).strip().partition("\n")[0]
        happened = first or (f"HTTP status {status}" if status is not None else type(error).__name__)
    return StoreUnavailable(f"{where} can't be reached: {happened}")


def _names(error: BaseException | None) -> Iterator[str]:
    """The classes of an error and of what caused it, outermost first."""
    while error is not None:
        yield type(error).__name__
        error = error.__cause__ or error.__context__
