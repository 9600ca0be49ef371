"""Structured logs: what a program may count on (`event` and fields), and words for a person.

    source = get_log("source")
    source.warning("broker_unreachable", "the broker does not answer", key=lane, lane=lane, error=str(error))

On a terminal a short line, elsewhere a JSON object a line, on standard error both. For lifecycle and the abnormal only:
in normal running nothing is logged per message, batch or epoch. Warnings and errors are limited to one per
(event, key) and interval; the next one says how many were held back. Secrets are struck out, by the name of their field
and where they stand in text.
"""

import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

import orjson

Form = Literal["auto", "text", "json"]

ROOT = "andon"
EVERY_S = 60.0
_REDACTED = "[redacted]"
_MOST_KEYS = 1_000
_EXTRA = "andon_fields"
_OWN = ("ts", "level", "log", "event", "message", "trace", "suppressed")
_SECRET_NAME = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|api_?key|private_?key|authorization|^sasl|key\.pem$",
    re.IGNORECASE,
)
_SECRET_TEXT = (
    (re.compile(r"(://[^/\s:@]*):[^/\s@]*@"), rf"\1:{_REDACTED}@"),
    (
        re.compile(
            r"\b([\w.-]*(?:passw(?:or)?d|passphrase|secret|token|credential|api_?key|sasl\.\w+)[\w.-]*"
            r"""["']?\s*[=:]\s*)(?!\[redacted\])("[^"]*"|'[^']*'|[^\s,;&)}\]]+)""",
            re.IGNORECASE,
        ),
        rf"\1{_REDACTED}",
    ),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {_REDACTED}"),
)


class Log:
    """One part's log. Events are named in snake case and stay; words are for people and may change.

    Args:
        name: which part of Andon speaks.
        clock: seconds that only grow, for the rate limit.
        every_s: the interval of warnings and errors.

    Memory: at most 1,000 (event, key) pairs; the one not heard of for longest is forgotten first.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic, every_s: float = EVERY_S) -> None:
        self._logger = logging.getLogger(f"{ROOT}.{name}")
        self._clock = clock
        self._every_s = every_s
        self._said: dict[tuple[str, str], tuple[float, int]] = {}

    def debug(self, event: str, words: str, **fields: object) -> None:
        """For one who looks for a fault; never limited."""
        self._write(logging.DEBUG, event, words, fields, None)

    def info(self, event: str, words: str, **fields: object) -> None:
        """Lifecycle: what a person wants to find afterwards; never limited."""
        self._write(logging.INFO, event, words, fields, None)

    def warning(
        self, event: str, words: str, *, key: str = "", cause: BaseException | None = None, **fields: object
    ) -> None:
        """The abnormal that Andon lives with."""
        if (held := self._allowed(event, key)) is not None:
            self._write(logging.WARNING, event, words, fields, cause, held)

    def error(
        self, event: str, words: str, *, key: str = "", cause: BaseException | None = None, **fields: object
    ) -> None:
        """What a person has to act on."""
        if (held := self._allowed(event, key)) is not None:
            self._write(logging.ERROR, event, words, fields, cause, held)

    def _allowed(self, event: str, key: str) -> int | None:
        """How many were held back since the last one that was not, None where this one is to be held back."""
        now = self._clock()
        place = (event, key)
        last = self._said.pop(place, None)
        if last is not None and now - last[0] < self._every_s:
            self._said[place] = (last[0], last[1] + 1)
            return None
        while len(self._said) >= _MOST_KEYS:
            del self._said[next(iter(self._said))]
        self._said[place] = (now, 0)
        return 0 if last is None else last[1]

    def _write(
        self,
        level: int,
        event: str,
        words: str,
        fields: Mapping[str, object],
        cause: BaseException | None,
        suppressed: int = 0,
    ) -> None:
        if not self._logger.isEnabledFor(level):
            return
        shown: dict[str, object] = {
            f"{name}_" if name in _OWN else name: redacted(value, name) for name, value in fields.items()
        }
        if suppressed:
            shown["suppressed"] = suppressed
        if cause is not None:
            shown["trace"] = redacted("".join(traceback.format_exception(cause)))
        self._logger.log(level, "%s", redacted(words), extra={_EXTRA: (event, shown)})


def get_log(name: str, clock: Callable[[], float] = time.monotonic, every_s: float = EVERY_S) -> Log:
    """The log of one part; see `Log`."""
    return Log(name, clock, every_s)


def setup(form: Form = "auto", level: str = "info") -> None:
    """Send logs to standard error, ours from `level` on and other libraries' from warnings on.

    May be called again; the last call counts.
    """
    handler = _ToStandardError(form)
    root = logging.getLogger()
    for old in [one for one in root.handlers if isinstance(one, _ToStandardError)]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger(ROOT).setLevel(level.upper())


def redacted(value: object, name: str = "") -> object:
    """`value` without secrets: whole where its name says that it is one, else where one stands in its text."""
    if name and _SECRET_NAME.search(name):
        return _REDACTED
    if isinstance(value, str):
        for pattern, instead in _SECRET_TEXT:
            value = pattern.sub(instead, value)
        return value
    if isinstance(value, Mapping):
        return {str(key): redacted(element, str(key)) for key, element in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [redacted(element) for element in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return redacted(str(value))


def as_json(record: logging.LogRecord) -> str:
    """One line of JSON: ts, level, log, event, message, then the record's fields."""
    event, fields = _parts(record)
    line: dict[str, object] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "log": record.name.removeprefix(f"{ROOT}."),
        "event": event,
        "message": redacted(record.getMessage()),
        **fields,
    }
    return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def as_text(record: logging.LogRecord) -> str:
    """A short line: time, level unless it is usual, part, words, fields; a trace goes below."""
    _, fields = _parts(record)
    trace = fields.pop("trace", None)
    moment = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
    level = "" if record.levelno <= logging.INFO else f" {record.levelname}"
    listed = ", ".join(f"{name}={value}" for name, value in fields.items())
    line = f"{moment}{level} {record.name.removeprefix(f'{ROOT}.')}: {redacted(record.getMessage())}"
    line += f" ({listed})" if listed else ""
    return f"{line}\n{trace}".rstrip() if trace else line


def _parts(record: logging.LogRecord) -> tuple[str, dict[str, object]]:
    """Event and fields of a record of ours; of another library's, what stands for them."""
    own = getattr(record, _EXTRA, None)
    if own is not None:
        return own[0], dict(own[1])
    trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
    return "library", {"trace": redacted(trace)} if trace else {}


class _ToStandardError(logging.Handler):
    """Writes to whatever standard error is at that moment; a handler that keeps the stream outlives its redirection."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = form

    def emit(self, record: logging.LogRecord) -> None:
        try:
            stream = sys.stderr
            text = self._form == "text" or (self._form == "auto" and stream.isatty())
            stream.write((as_text(record) if text else as_json(record)) + "\n")
            stream.flush()
        except Exception:  # noqa: BLE001 - logging must not end the job; this is the library's own way of saying so
            self.handleError(record)
