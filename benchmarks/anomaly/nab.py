"""The model on the Numenta Anomaly Benchmark: `andon score` over each series, then the scorer that is not ours.

    .venv/bin/python benchmarks/anomaly/nab.py [--jobs N]

Scores are made strictly online; one configuration for all series and for KPI. Beside the scorer's own figures stands
how the score holds when the threshold is chosen on one random half of the series and judged on the other
(`halves`, mean of 30 splits): a threshold that only fits these series would show.
"""

import argparse
import random
import sys
from collections.abc import Sequence

from places import BUILD, DATA, TOOLS, nab_verdict, scored

SPLITS = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Score, judge, print."""
    parser = argparse.ArgumentParser(description="The model on the Numenta Anomaly Benchmark.")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes (2)")
    asked = parser.parse_args(arguments)
    corpus, out = DATA / "nab", BUILD / "nab"
    scored(corpus / "data", out, asked.jobs)
    verdict = nab_verdict(out, corpus)
    for profile, one in verdict.items():
        print(
            f"{profile:20s} {one['score']:5.1f}  leave-category-out {one['loo_score']:5.1f}  threshold "
            f"{one['threshold']:.3f}  windows {one['found']}/{one['windows']}  false rows {one['fp_rows']}"
        )
    print(f"{'halves':20s} {halves(corpus, out):5.1f}  (standard, threshold from the other half of the series)")
    return 0


def halves(corpus_folder: object, out: object) -> float:
    """Mean standard score of a random half at the threshold that the other half chooses."""
    sys.path.insert(0, str(TOOLS))
    import nab_score  # type: ignore[import-not-found] # noqa: PLC0415 - the scorer lies beside the data

    corpus = nab_score.load_corpus(corpus_folder)
    scores = nab_score.load_scores(out, corpus)
    draw, total = random.Random(0), 0.0
    for _ in range(SPLITS):
        order = list(range(len(corpus)))
        draw.shuffle(order)
        half = len(order) // 2
        raw = 0.0
        for chosen, judged in ((order[:half], order[half:]), (order[half:], order[:half])):
            at, raws = nab_score.sweep([corpus[i] for i in chosen], [scores[i] for i in chosen], "standard")
            threshold = at[raws.argmax()]
            ours = [corpus[i] for i in judged], [scores[i] for i in judged]
            raw += nab_score.at_threshold(*ours, threshold, "standard")[0]
        total += nab_score.normalise(raw, corpus, "standard")
    return total / SPLITS


if __name__ == "__main__":
    sys.exit(main())
