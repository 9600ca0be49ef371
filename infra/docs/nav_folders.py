"""A hook of mkdocs: an entry `folder/*` of the navigation stands for the pages of that folder, by name."""

from pathlib import Path
from typing import Any


def on_config(config: Any) -> None:  # noqa: ANN401 - mkdocs' own type; mkdocs is not installed where this is linted
    """Put the pages in the place of `folder/*`."""
    config.nav = _filled(config.nav, Path(config.docs_dir))


def _filled(entries: list[Any], docs: Path) -> list[Any]:
    filled: list[Any] = []
    for entry in entries:
        if isinstance(entry, str) and entry.endswith("/*"):
            pages = sorted(docs.glob(f"{entry}.md"))
            filled += [page.relative_to(docs).as_posix() for page in pages]
        elif isinstance(entry, dict):
            filled.append(
                {name: _filled(rest, docs) if isinstance(rest, list) else rest for name, rest in entry.items()}
            )
        else:
            filled.append(entry)
    return filled
