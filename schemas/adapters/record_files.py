"""Files of foreign records: JSON lines, or one JSON document in as many lines as it likes; gzip is told by its bytes.

A file whose first line is a JSON value of its own holds one record a line. Else, if all of it is one JSON value, it is
that document. Else something is broken: the document, where the first line ends as one within a document does and none
of the next lines is an object of its own; else lines.

Memory: one line, or the document; at most `MAX_BYTES` of either.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

import msgspec

from schemas.errors import SourceError

#: A longer line is no record; its beginning is kept as a dead letter.
MAX_BYTES: Final = 256 << 20
#: Of what is too long to be kept as a dead letter, its beginning.
KEPT_BYTES: Final = 65_536
#: So many lines are looked at to tell a broken document from lines of which the first is broken.
_LINES_LOOKED_AT = 100
_GZIP, _BYTE_ORDER_MARK = b"\x1f\x8b", b"\xef\xbb\xbf"
_OTHERS = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"PAR1": "a Parquet file",
    b"SQLite": "an SQLite database",
    b"<": "XML",
}
_syntax = msgspec.json.Decoder(msgspec.Raw).decode


class Piece(msgspec.Struct, frozen=True, gc=False):
    """A line or a document as it stands in the file; `cut` when it is too long, and `raw` only its beginning."""

    raw: bytes
    cut: bool = False


class RecordFile:
    """One file of foreign records; it can be read more than once.

    Raises (on making):
        SourceError: it can't be read, or its first bytes say that it is something else.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        with self._readable():
            with Path(path).open("rb") as file:
                head = file.read(6)
            self._size = max(1, Path(path).stat().st_size)
        self._packed = head.startswith(_GZIP)
        self._raw: IO[bytes] | None = None
        for magic, what in _OTHERS.items():
            if head.startswith(magic):
                raise SourceError(f"{path}: is {what}, not JSON; give JSON lines or a JSON document (gzip too)")

    def position(self) -> float:
        """How far the running `pieces` has come, 0 to 1."""
        return 0.0 if self._raw is None or self._raw.closed else min(1.0, self._raw.tell() / self._size)

    def pieces(self) -> Iterator[Piece]:
        """The lines (blank ones are none), or the one document.

        Raises:
            SourceError: the file can't be read on.
        """
        with self._readable():
            whole = self._document()
            if whole is not None:
                yield whole
                return
            with ExitStack() as stack:
                yield from _lines(self._opened(stack))

    def _document(self) -> Piece | None:
        """All of the file, if it is one document, also a broken one; None if it is lines."""
        with ExitStack() as stack:
            stream = self._opened(stack)
            first = next((piece for piece in _lines(stream)), None)
            if first is None or first.cut or _is_json(first.raw):
                return None
            rest = stream.read(MAX_BYTES)
            whole, cut = first.raw + b"\n" + rest, len(rest) == MAX_BYTES
            if (cut or not _is_json(whole)) and (first.raw[-1:] not in b"{[,:" or _has_objects(rest)):
                return None
            return Piece(whole[:KEPT_BYTES], cut=True) if cut else Piece(whole)

    def _opened(self, stack: ExitStack) -> IO[bytes]:
        self._raw = stack.enter_context(Path(self._path).open("rb"))  # noqa: SIM115 - closed by the stack
        return stack.enter_context(_unpacked(self._raw)) if self._packed else self._raw

    @contextmanager
    def _readable(self) -> Iterator[None]:
        """Errors of reading, as what the caller can do about them."""
        try:
            yield
        except (OSError, EOFError, zlib.error) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise SourceError(f"{self._path}: can't be read: {reason}") from error


def _unpacked(stream: IO[bytes]) -> io.BufferedReader:
    return io.BufferedReader(gzip.GzipFile(fileobj=stream), 1 << 17)


def _lines(stream: IO[bytes]) -> Iterator[Piece]:
    first = True
    while line := stream.readline(MAX_BYTES + 1):
        if first:
            line, first = line.removeprefix(_BYTE_ORDER_MARK), False
        if len(line) > MAX_BYTES:
            kept = line[:KEPT_BYTES]
            while line and not line.endswith(b"\n"):
                line = stream.readline(MAX_BYTES)
            yield Piece(kept, cut=True)
        elif line := line.strip():
            yield Piece(line)


def _has_objects(rest: bytes) -> bool:
    """Whether one of the next lines is an object of its own; within a document they would be set in."""
    lines = rest.split(b"\n", _LINES_LOOKED_AT)[:_LINES_LOOKED_AT]
    return any(line.startswith(b"{") and _is_json(line) for line in lines)


def _is_json(raw: bytes) -> bool:
    try:
        _syntax(raw)
    except (ValueError, RecursionError):
        return False
    return True
