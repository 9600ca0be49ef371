"""Too many bad ones of few: the rule for what comes a few times a day, such as purchase orders.

`RateWatch` looks at the last minute, two, four … of its window. Of thousands that is all that is needed; of a handful,
the last three of which went wrong, such an end mostly takes in some that came before. Here every bad one begins an end
of the window, and what came in the window before it says what is usual, as what has left the window does.
"""

from typing import ClassVar

from operators.detectors.rates import PRIOR_OF_SHARE, Judged, RateRule, RateState, RateWatch, surprise_of_share


class FewWatch(RateWatch):
    """Finds that too many of few are bad, by scope: an uninterrupted run of them, or nearly so, is enough.

    Memory: at most `PARTS` counts a scope. Cost: a few multiplications for each of them in a minute in which one came.
    """

    PARTS: ClassVar[int] = 720

    def _most_surprising(self, state: RateState, rule: RateRule, number: int, width: int) -> tuple[int, Judged]:
        """The end of the window, from a bad one on, that is least usual by what was before it."""
        best = (width, self._over(state, rule, number, width))
        all_bad, all_total = best[1].bad, best[1].total
        bad = good = 0.0
        for at, its_bad, its_total in reversed(state.cells):
            bad += its_bad
            if its_bad and bad >= rule.least:  # what was good in the same minute came before it
                total = bad + good
                known = state.usual_total + all_total - total + PRIOR_OF_SHARE
                usual = (state.usual_bad + all_bad - bad + rule.usual * PRIOR_OF_SHARE) / known
                bar = max(rule.share, min(0.9, usual * rule.times))
                judged = Judged(bad, total, usual, bad / total, bar, surprise_of_share(bad, total, usual))
                if judged.score > best[1].score:
                    best = (number - at + 1, judged)
            good += its_total - its_bad
        return best
