"""The list of decision records in docs/architecture.md: number and title, as the records say."""

import re
from pathlib import Path

from markdown import filled, table

DOCS = Path(__file__).parents[2] / "docs"
_TITLE = re.compile(r"# (\d+)[.:]? (.+)")


def page() -> str:
    """docs/architecture.md with its list of decisions.

    Raises:
        ValueError: a record does not begin with its number and title.
    """
    return filled((DOCS / "architecture.md").read_text(encoding="utf-8"), "decisions", _list())


def _list() -> str:
    rows = []
    for path in sorted(DOCS.glob("decisions/*.md")):
        found = _TITLE.match(path.read_text(encoding="utf-8"))
        if found is None:
            raise ValueError(f"{path.name} must begin with `# {path.name[:4]} Title`")
        rows.append((f"[{path.name[:4]}](decisions/{path.name})", found[2]))
    return table(("", ""), rows)
