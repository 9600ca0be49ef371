"""Write the dashboards: `python infra/grafana/build.py [DIRECTORY]`.

What they show stands in operations.py and platform_health.py.
"""

import json
import sys
from pathlib import Path

import operations
import platform_health
from panels import dashboard

DASHBOARDS = {
    "operations.json": dashboard("andon", "Andon: operations", operations.ROWS, operations.VARIABLES, "now-24h"),
    "platform.json": dashboard("andon-platform", "Andon: platform", platform_health.ROWS, (), "now-6h"),
}


def main() -> None:
    """Write them into the directory, by default the one beside this file."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "dashboards"
    for name, document in DASHBOARDS.items():
        (folder / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
