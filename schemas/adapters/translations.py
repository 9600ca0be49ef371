"""What `--mapping` can name: a declarative mapping for tables (mapping.py), or an adapter for a format that code reads.

Both turn a file into canonical messages; here is what whoever reads files needs of either.
"""

import tomllib
from collections.abc import Sequence
from typing import TypeAlias, TypeVar

import msgspec

from schemas.adapters.epcis import EPCIS
from schemas.adapters.mapping import Mapping, find_mapping, load_mapping
from schemas.adapters.records import Adapter, RecordSource, count_records
from schemas.adapters.saleor import SALEOR
from schemas.adapters.shopify import SHOPIFY
from schemas.adapters.tabular import RowCounts, TabularSource, count_rows
from schemas.problems import Declared

Translation: TypeAlias = Mapping | Adapter
MessageSource: TypeAlias = TabularSource | RecordSource
T = TypeVar("T")

ADAPTERS = {one.name: one for one in (EPCIS, SALEOR, SHOPIFY)}


def load_translation(name_or_path: str) -> Translation:
    """The adapter or shipped mapping of that name, or the mapping in that file.

    Raises:
        SettingsError: there is none, or it has problems (all of them are in the error).
    """
    return ADAPTERS.get(name_or_path) or load_mapping(name_or_path, also=tuple(ADAPTERS))


def find_translation(name_or_path: str) -> Declared[Adapter] | Declared[Mapping]:
    """As `load_translation`, for one who wants to look on where something is wrong."""
    adapter = ADAPTERS.get(name_or_path)
    if adapter is not None:
        return Declared(adapter, (), left=adapter)
    return find_mapping(name_or_path, also=tuple(ADAPTERS))


def open_source(translation: Translation, path: str, name: str = "") -> MessageSource:
    """The messages of the file at `path`; `name` is what a mapping calls the file.

    Raises:
        SettingsError: the mapping names columns that the table has not.
        SourceError: the file can't be read.
    """
    if isinstance(translation, Adapter):
        return RecordSource(translation, path)
    return TabularSource(translation, path, name)


def identity_of(translation: Translation) -> bytes:
    """What the messages depend on besides the file: what a mapping says (but for comments), an adapter's version."""
    if isinstance(translation, Adapter):
        return f"{translation.name}/{translation.version}".encode()
    return msgspec.json.encode(tomllib.loads(translation.text))


def source_of(translation: Translation, raw: bytes) -> str:
    """The system instance that what is refused, `raw`, is from; "" where that can't be told."""
    return translation.source_of(raw) if isinstance(translation, Adapter) else translation.source


def count_read(translation: Translation, sources: Sequence[MessageSource]) -> RowCounts:
    """What became of the rows or records of all `sources`, which are of `translation`."""
    if isinstance(translation, Adapter):
        return count_records(_of_kind(sources, RecordSource))
    return count_rows(translation, _of_kind(sources, TabularSource))


def _of_kind(sources: Sequence[MessageSource], kind: type[T]) -> list[T]:
    return [source for source in sources if isinstance(source, kind)]
