"""What a window asks of a series' open passes: `python open_passes.py`, a line for so many open ones and changes.

Between two questions some passes begin, and as many of those that are open end, drawn at random.
"""

import random
import time

from operators.handoff_open import OpenPasses

#: (open passes, changes between two questions, questions)
SIZES = ((10, 5, 20_000), (80, 30, 5_000), (5_000, 1, 1_000), (5_000, 25, 1_000), (50_000, 50, 200))
SEED = 1


def question_us(count: int, changes: int, questions: int) -> float:
    """Microseconds of the processor for a question, with the changes before it."""
    rng, now = random.Random(SEED), 10**12
    still = sorted(rng.randrange(now) for _ in range(count))
    opened = OpenPasses(still)
    opened.before(now)
    began_s = time.process_time()
    for _ in range(questions):
        for _ in range(changes):
            now += 1_000
            opened.add(now)
            still.append(now)
            at = rng.randrange(len(still))
            still[at], still[-1] = still[-1], still[at]
            opened.remove(still.pop())
        opened.before(now)
    return (time.process_time() - began_s) / questions * 1e6


if __name__ == "__main__":
    for count, changes, questions in SIZES:
        print(f"{count:>7,} open, {changes:>3} changes: {question_us(count, changes, questions):8.1f} us a question")
