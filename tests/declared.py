"""Reading TOML text as a record of any type, for tests of what records are made of."""

from typing import TypeVar

from schemas.problems import Declared, declare_document, parse_toml

T = TypeVar("T")


def declare(text: str, kind: type[T], file: str) -> Declared[T]:
    """Every problem of the document; it must be TOML, or there is one problem."""
    document, problems = parse_toml(text, file)
    return Declared(None, problems) if problems else declare_document(document, kind, file, text)
