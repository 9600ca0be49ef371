"""Write the pages and pictures of docs/ that are generated: `python infra/docs/build.py [DIRECTORY]`.

A test holds what is checked in to what this writes. (docs/metrics.md is `schemas.metrics_page.metrics_page()`,
docs/detectors/thresholds.md is written by `python -m tests.thresholds`.)
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import clickhouse_schema
import decision_list
import runbook_metrics
import settings_reference
from drawing import svg
from pictures import PICTURES

from dataflows.process_maps import load_process_map
from operators import process_graph

FILES: Mapping[str, Callable[[], str]] = {
    "clickhouse-schema.md": clickhouse_schema.page,
    "settings-reference.md": settings_reference.page,
    "runbook.md": runbook_metrics.page,
    "architecture.md": decision_list.page,
    "architecture/process.svg": lambda: process_graph.svg(load_process_map("default")),
    **{f"architecture/{name}.svg": partial(svg, picture) for name, picture in PICTURES.items()},
}


def main() -> None:
    """Write them into the directory, by default docs/."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[2] / "docs"
    for name, content in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content(), encoding="utf-8")


if __name__ == "__main__":
    main()
