import math
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))  # scripts, not a package
from compare import comparable, main
from compare_verdict import ALARMS, LEAST, Turn, judge, student

PAIRS = 7
PATHS = 14
RUNS = 200


def gaussian(rng: random.Random) -> float:
    return math.exp(rng.gauss(0, 0.03))


def spiky(rng: random.Random) -> float:
    """A tenth of all runs are disturbed by a third or so: what another program on the machine does."""
    return gaussian(rng) * (1.35 if rng.random() < 0.1 else 1.0)


def turns(
    rng: random.Random, ratio: float = 1.0, *, noise: Callable[[random.Random], float] = gaussian, drift: float = 1.0
) -> list[Turn]:
    """Runs of 2 s one after the other; `drift` is what a machine that slows down makes of each run more."""
    made, slow = [], 1.0
    for _ in range(PAIRS):
        one = []
        for own in (1.0, ratio, 1.0):
            one.append(2.0 * own * slow * noise(rng))
            slow *= drift
        made.append(Turn(*one))
    return made


@pytest.mark.parametrize(
    ("share", "freedom", "value"),
    [(0.975, 2, 4.3027), (0.975, 12, 2.1788), (0.995, 6, 3.7074), (0.95, 4, 2.1318), (0.999, 120, 3.1595)],
)
def test_student_is_that_of_the_tables(share: float, freedom: int, value: float) -> None:
    assert student(share, freedom) == pytest.approx(value, abs=5e-5)


def test_student_refuses_what_its_sum_does_not_hold_for() -> None:
    with pytest.raises(ValueError, match="3 degrees of freedom"):
        student(0.95, 3)
    with pytest.raises(ValueError, match=r"a share of 0\.1"):
        student(0.1, 4)


def test_ten_percent_are_found_in_noise_of_three() -> None:
    words = [judge(turns(random.Random(seed), 1.10), PATHS).word for seed in range(RUNS)]
    assert words.count("slower") >= 190
    assert words.count("faster") == 0
    words = [judge(turns(random.Random(seed), 1 / 1.10), PATHS).word for seed in range(RUNS)]
    assert words.count("faster") >= 190
    assert words.count("slower") == 0


@pytest.mark.parametrize("noise", [gaussian, spiky])
def test_no_more_false_alarms_than_stated(noise: Callable[[random.Random], float]) -> None:
    """Comparisons of all paths, of which none has changed. Counted, the stated share has a spread of its own."""
    alarms = 0
    for seed in range(RUNS):
        rng = random.Random(seed)
        alarms += any(judge(turns(rng, noise=noise), PATHS).word == "slower" for _ in range(PATHS))
    assert alarms <= ALARMS * RUNS + 2 * math.sqrt(ALARMS * RUNS)


def test_without_its_guard_against_many_paths_it_would_cry_more_often_than_stated() -> None:
    """That the test above can fail: each path judged as if it were the only one, and however small the difference."""
    alarms = 0
    for seed in range(RUNS):
        rng = random.Random(seed)
        alarms += any(judge(turns(rng), 1, least=0.0).word == "slower" for _ in range(PATHS))
    assert alarms > 5 * ALARMS * RUNS


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """With one path, `ALARMS` lie beyond each of its ends."""
    held = 0
    for seed in range(1_000):
        verdict = judge(turns(random.Random(seed), 1.10))
        held += verdict.low <= 1.10 <= verdict.high
    assert held / 1_000 == pytest.approx(1 - 2 * ALARMS, abs=0.02)


def test_a_machine_that_slows_down_is_not_taken_for_a_slower_program() -> None:
    """Two per cent from each run to the next: the base itself is 4 % slower the second time, and that shows."""
    verdict = judge(turns(random.Random(1), drift=1.02), PATHS)
    assert verdict.word == "same"
    assert verdict.control == pytest.approx(1.04, abs=0.03)
    assert verdict.ratio == pytest.approx(1.0, abs=0.03)


def test_noise_is_told() -> None:
    found = [judge(turns(random.Random(seed))).noise for seed in range(100)]
    assert sum(found) / len(found) == pytest.approx(0.03, abs=0.003)


def test_a_sure_difference_too_small_to_matter_is_none() -> None:
    def almost_none(rng: random.Random) -> float:
        return math.exp(rng.gauss(0, 0.0005))

    verdict = judge(turns(random.Random(3), 1 + LEAST / 2, noise=almost_none), PATHS)
    assert verdict.low > 1.0
    assert verdict.word == "same"
    assert judge(turns(random.Random(3), 1 + 2 * LEAST, noise=almost_none), PATHS).word == "slower"


def test_too_few_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="2 turns are too few"):
        judge(turns(random.Random(1))[:2])


def result(name: str, messages: int, **more: object) -> dict[str, object]:
    return {"id": name, "messages": messages, "events": 7, "seconds": [1.0], "clock": "cpu", **more}


def test_what_only_one_of_them_has_is_skipped_and_said() -> None:
    head = [result("w1.stock", 100), result("w1.incidents", 100)]
    base = [result("w1.stock", 100), result("w1.gone", 100)]
    chosen, skipped = comparable(base, head)
    assert chosen == {"w1.stock": "cpu"}
    assert skipped == {
        "w1.gone": "only the base has this benchmark",
        "w1.incidents": "the base has no such benchmark",
    }


def test_a_benchmark_that_was_changed_is_not_compared() -> None:
    chosen, skipped = comparable([result("w1.stock", 1_000)], [result("w1.stock", 1_200)])
    assert chosen == {}
    assert skipped == {"w1.stock": "not the same work: 1,000 messages in the base, 1,200 now"}


def test_only_times_by_the_same_clock_are_compared() -> None:
    """Benchmarks of old don't say which: it was the wall's."""
    replay = result("w1.replay.chdb", 100, clock="wall", cpu_s=[0.9])
    stage = result("w1.stock", 100)
    old = [{name: value for name, value in one.items() if name not in {"clock", "cpu_s"}} for one in (replay, stage)]
    chosen, skipped = comparable([replay, stage], [replay, stage])
    assert chosen == {"w1.replay.chdb": "cpu", "w1.stock": "cpu"}
    assert skipped == {}
    chosen, skipped = comparable(old, [replay, stage])
    assert chosen == {"w1.replay.chdb": "wall"}
    assert skipped == {"w1.stock": "timed by another clock in the base"}


def test_a_commit_that_is_not_there_is_told_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["no-such-commit"]) == 2
    assert "no worktree of no-such-commit" in capsys.readouterr().err


def test_too_few_pairs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["HEAD", "--pairs", "2"])
    assert "--pairs must be at least 3" in capsys.readouterr().err
