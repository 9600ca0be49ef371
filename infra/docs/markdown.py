"""Markdown of generated pages."""

from collections.abc import Iterable, Sequence


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; a `|` in a cell is escaped, and its line breaks are blanks."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join(f"| {' | '.join(_cell(str(cell)) for cell in line)} |\n".replace("| --- ", "|---") for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def filled(text: str, name: str, content: str) -> str:
    """A page's text with `content` between its two marks.

    Raises:
        ValueError: the page has lost the marks.
    """
    begin, end = f"<!-- BEGIN {name}: written by infra/docs/build.py -->\n", f"<!-- END {name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"the page must have {begin.strip()} and {end}, once each")
    before, _, rest = text.partition(begin)
    return before + begin + content + rest[rest.index(end) :]
