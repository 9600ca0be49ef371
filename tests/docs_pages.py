"""The pages of docs/ and the README as their Markdown says: headings, links, code blocks, code in the text."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
#: Languages of blocks that hold commands; a block that is only indented has none.
SHELL = ("sh", "console", "")


class Block(NamedTuple):
    """A code block: its page, the line that it begins in, the language it names (may be empty), its text."""

    page: Path
    line: int
    language: str
    text: str


class Link(NamedTuple):
    """Where a page links to, as written; `is_picture` for what is shown in the page."""

    page: Path
    target: str
    is_picture: bool


class Page(NamedTuple):
    """One page."""

    path: Path
    headings: tuple[str, ...]
    links: tuple[Link, ...]
    blocks: tuple[Block, ...]
    spans: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return self.path.relative_to(ROOT).as_posix()


@cache
def pages() -> tuple[Page, ...]:
    """The README and all of docs/, by name."""
    return tuple(read_page(path) for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))])


def read_page(path: Path) -> Page:
    """One page's parts."""
    return page_of(path, path.read_text(encoding="utf-8"))


def page_of(path: Path, text: str) -> Page:
    """The parts of a page of this text at this place."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [(before, token) for before, token in zip([None, *tokens], tokens, strict=False) if token.type == "inline"]
    children = [child for _, token in inline for child in token.children or ()]
    return Page(
        path,
        tuple(_words(token) for before, token in inline if before is not None and before.type == "heading_open"),
        tuple(_links(path, children)),
        tuple(_blocks(path, tokens)),
        tuple(child.content for child in children if child.type == "code_inline"),
    )


def anchors(page: Page) -> set[str]:
    """What a link into the page may name, as both the repository's viewer and the site call it.

    They agree but where a heading has signs between blanks; such headings can't be linked to.
    """
    return {_hosted(heading) for heading in page.headings} & {_built(heading) for heading in page.headings}


def _hosted(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def _built(heading: str) -> str:
    plain = unicodedata.normalize("NFKD", heading).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def _words(token: Token) -> str:
    return "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))


def _links(path: Path, children: Sequence[Token]) -> Iterator[Link]:
    for child in children:
        if child.type == "link_open":
            yield Link(path, str(child.attrs["href"]), is_picture=False)
        elif child.type == "image":
            yield Link(path, str(child.attrs["src"]), is_picture=True)


def _blocks(path: Path, tokens: Sequence[Token]) -> Iterator[Block]:
    for token in tokens:
        if token.type in ("fence", "code_block"):
            line = (token.map or [0])[0] + 1
            yield Block(path, line, token.info.strip(), token.content)
