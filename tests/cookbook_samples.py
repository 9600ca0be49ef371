"""Write the samples under the queries of docs/cookbook.md anew: `python -m tests.cookbook_samples`."""

import re
import tempfile
from datetime import datetime
from pathlib import Path

from sinks.clickhouse.store import Store, open_store
from tests import analyst_day

COOKBOOK = Path(__file__).parents[1] / "docs" / "cookbook.md"
RECIPE = re.compile(
    r"^### (?P<title>.+?)\n.*?^```sql\n(?P<sql>.*?)^```\n(?P<sample>\n(?:^\|[^\n]*\n)+)?", re.MULTILINE | re.DOTALL
)
_ROWS = 3
_LONGEST = 48


def with_samples(text: str, store: Store) -> str:
    """The cookbook with the first rows of each answer under its query."""

    def filled(found: re.Match[str]) -> str:
        answer = store.query(found["sql"], limit=_ROWS)
        lines = [answer.names, tuple("---" for _ in answer.names)]
        lines += [tuple(_shown(value) for value in row) for row in answer.rows]
        whole = found[0][: found.end("sql") - found.start()] + "```\n"
        return whole + "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)

    return RECIPE.sub(filled, text)


def _shown(value: object) -> str:
    text = f"{value:%Y-%m-%d %H:%M:%S}" if isinstance(value, datetime) else "" if value is None else str(value)
    text = text.replace("|", "\\|").replace("\n", " ")
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store(analyst_day.make(Path(folder)), readonly=True) as opened,
    ):
        COOKBOOK.write_text(with_samples(COOKBOOK.read_text(), opened))
