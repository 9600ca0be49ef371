"""Writes docs/detectors/thresholds.md: every threshold of every detector with its default.

python -m tests.thresholds > docs/detectors/thresholds.md
"""

import sys
from collections.abc import Iterator

import msgspec

from operators.detectors.bounds import by_words
from operators.detectors.policy import paths_of
from operators.detectors.settings import DetectorSettings
from schemas.durations import Duration

_HEAD = """# Every threshold of the detectors

Under `[detectors]` of the settings; those that can be other somewhere also in `set` of `[[detectors.override]]`, by
these names: one for anything but what stands in the last column is refused, since no scope would match it. Shares are
between 0 and 1, no number is below 0. What they mean stands with the family's page, and for what has `window`, `least`,
`share` … in [detection](../detection.md). This page is written by
`python -m tests.thresholds`; a test holds it to the code.
"""


def page() -> str:
    """The whole page."""
    return _HEAD + "\n| threshold | default | can be other by |\n|---|---|---|\n" + "".join(_rows())


def _rows() -> Iterator[str]:
    settings = DetectorSettings()
    for path, by_scope in paths_of(DetectorSettings).items():
        if path.startswith(("node_groups", "override")):
            continue
        value: object = settings
        for name in path.split("."):
            value = getattr(value, name)
        yield f"| `{path}` | `{_shown(value)}` | {(by_scope and by_words(path)) or 'no'} |\n"


def _shown(value: object) -> str:
    if isinstance(value, Duration):
        return f'"{value.written}"'
    return msgspec.json.encode(value).decode()


if __name__ == "__main__":
    sys.stdout.write(page())
