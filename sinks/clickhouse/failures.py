"""Which of our errors a failure of driver or engine is, decided in one table by what helps against it."""

import re

from schemas.errors import BlockRejected, StoreError, StoreRefused, StoreUnavailable

#: Passing: the same request can succeed later. The names are checked against the engine's own in a test.
UNAVAILABLE: dict[int, str] = {
    32: "ATTEMPT_TO_READ_AFTER_EOF",
    33: "CANNOT_READ_ALL_DATA",
    159: "TIMEOUT_EXCEEDED",
    160: "TOO_SLOW",
    198: "DNS_ERROR",
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
    745: "SERVER_OVERLOADED",
    999: "KEEPER_EXCEPTION",
    1000: "POCO_EXCEPTION",
}

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

#: Refusals where the engine's own words leave the reader without the next step.
REMEDIES: dict[int, str] = {
    60: "is the schema up to date? `andon migrate --status` says",
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
)
_EXPECTED = re.compile(r"\. Expected one of: (?:[^,]+, ){8,}[^,]+(?=\. \(SYNTAX_ERROR\))")
_TRAILER = re.compile(r"\s*\(version (?:[^()]|\([^()]*\))*\)\s*$")
#: What the embedded engine says when it can't open its directory (it prints the details to standard error
#: itself).
_OPENING = {
    "EmbeddedServer already initialized": "one process can have one embedded database "
    "open at a time: close the other first",
    "Error initializing EmbeddedServer": "the embedded database can't be opened: another process has it open "
    "(stop that, or use a server), or this user may not write to its directory",
}
_UNREACHABLE = "ClickHouse can't be reached"


def understood(error: Exception, *, inserting: bool = False) -> StoreError:
    """Our error for `error`, whatever the driver raised.

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
    words = readable(text)
    if code in UNAVAILABLE:
        return StoreUnavailable(words)
    if inserting and code in REJECTED:
        return BlockRejected(words)
    remedy = REMEDIES.get(code)
    return StoreRefused(f"{words}; {remedy}" if remedy else words)


def readable(text: str) -> str:
    """The engine's message in one piece, without prefixes, trace and version; its symbolic name stays."""
    words = _NOISE.sub("", text.split("Stack trace:", 1)[0]).strip()
    return _EXPECTED.sub("", _TRAILER.sub("", words)).rstrip(" ,.")


def _without_code(error: Exception, text: str, *, inserting: bool) -> StoreError:
    from clickhouse_connect.driver import exceptions  # noqa: PLC0415 - the driver is loaded when a store is opened

    if isinstance(error, exceptions.DataError) or not isinstance(error, (exceptions.ClickHouseError, OSError)):
        return BlockRejected(f"{type(error).__name__}: {text}") if inserting else StoreRefused(text)
    if isinstance(error, (exceptions.ProgrammingError, exceptions.NotSupportedError)):
        return StoreRefused(f"{text}; is the schema up to date? `andon migrate --status` says")
    first = readable(text).splitlines()
    return StoreUnavailable(f"{_UNREACHABLE}: {first[0] if first else type(error).__name__}")
