"""What adds to a score is what the docs list and what a signal's words, which `andon explain` shows, tell of it."""

import random
import re
from pathlib import Path

import msgspec
import pytest

from operators.anomaly.batch.detector import Scores
from operators.anomaly.detector import INNOVATION, LEVEL, SUSTAINED, SeriesDetector, kind_of
from operators.anomaly.point import Point
from operators.anomaly.score import Score, Terms
from operators.series_points import WindowPoint
from operators.series_signals import model_signal

DOCS = Path(__file__).parents[1] / "docs" / "anomaly.md"
STEP_US = 300_000_000
NAMES = Terms.__struct_fields__
TOLD = re.compile(r"(\w+) (\d+\.\d)(?=[,:])")


def rows_of_docs() -> dict[str, str]:
    """Name → formula of the table that begins with the terms."""
    lines = DOCS.read_text(encoding="utf-8").splitlines()
    begin = next(number for number, line in enumerate(lines) if line.startswith("| term | what it asks |"))
    out = {}
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        out[cells[0]] = cells[2]
    return out


def told(score: Score) -> tuple[dict[str, str], str]:
    """What the explanation of an alarm says of each term, and all of it."""
    point = Point(("backlog", "pick", "node", "s1"), "", score.at_us, score.value)
    words = model_signal(WindowPoint(score.at_us, score.at_us - STEP_US, point), score).explanation
    return dict(TOLD.findall(words)), words


def test_the_docs_list_the_terms_of_the_model() -> None:
    """The season is what is expected, and adds nothing by itself."""
    docs = rows_of_docs()
    assert list(docs) == ["season", *NAMES]
    for name, weight in (("innovation", INNOVATION), ("level", LEVEL), ("sustained", SUSTAINED)):
        assert docs[name].startswith(f"{weight:g} T(")


def test_the_columns_of_a_batch_have_the_same_terms() -> None:
    assert [name for name in Scores._fields if name in NAMES] == list(NAMES)


@pytest.mark.parametrize("most", NAMES)
def test_an_explanation_tells_every_term_with_what_it_adds(most: str) -> None:
    detector = SeriesDetector()
    score = detector.score(STEP_US, 1.0)
    amounts = {name: 2.0 if name == most else 0.5 + number / 10 for number, name in enumerate(NAMES)}
    score = msgspec.structs.replace(
        score, terms=Terms(**amounts), surprise=sum(amounts.values()), upper=2.0, lower=0.0, kind="spike"
    )
    amount, words = told(score)
    assert amount == {name: f"{value:.1f}" for name, value in amounts.items()}
    assert words.endswith(f": {sum(amounts.values()):.1f} powers of ten).")
    others = {told(msgspec.structs.replace(score, terms=Terms(**{**amounts, name: 9.0})))[1] for name in NAMES}
    assert len(others) == len(NAMES), "the words hang on which term says most"


def test_of_a_real_alarm_the_terms_that_count_are_told_and_add_up() -> None:
    detector, draw = SeriesDetector(), random.Random(2)
    scores = [
        detector.score(number * STEP_US, draw.gauss(0, 3) + (60 if number == 900 else 100)) for number in range(901)
    ]
    alarm = scores[-1]
    assert alarm.is_alarm
    amount, _ = told(alarm)
    assert amount == {name: f"{getattr(alarm.terms, name):.1f}" for name in NAMES if getattr(alarm.terms, name) >= 0.05}
    assert alarm.surprise == pytest.approx(sum(msgspec.structs.astuple(alarm.terms)))
    for field in ("expected", "lower", "upper", "value", "confidence"):
        assert isinstance(getattr(alarm, field), float)


@pytest.mark.parametrize(
    ("amounts", "kind"),
    [((3.0, 1.0, 2.0, 2.0), "spike"), ((0.0, 1.0, 2.0, 0.0), "shift"), ((1.0, 1.0, 0.0, 1.5), "shift")],
)
def test_an_alarm_is_a_shift_where_level_or_lean_say_most(amounts: tuple[float, ...], kind: str) -> None:
    assert kind_of(*amounts) == kind
