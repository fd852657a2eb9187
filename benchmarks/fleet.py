"""What a fleet that starts in the same second asks of the authorization server: python benchmarks/fleet.py

Each session sends ten requests a second. The first that finds the token stale renews it; a life is 300 s.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

SESSIONS, HOUR, LIFE, RATE, SEED = 10_000, 3600.0, 300.0, 10.0, 1


def token_requests(leeway: Callable[[random.Random], float]) -> Counter[int]:
    """Token requests in each second of an hour."""
    chance = random.Random(SEED)
    seconds: Counter[int] = Counter()
    for _ in range(SESSIONS):
        own = leeway(chance)
        at = chance.random()
        while at < HOUR:
            seconds[int(at)] += 1
            at += LIFE - own + chance.expovariate(RATE)
    return seconds


def main() -> None:
    for name, leeway in {
        "leeway=60": lambda _: 60.0,
        "leeway=random.uniform(60, 90)": lambda chance: chance.uniform(60, 90),
        "leeway=random.uniform(60, 150)": lambda chance: chance.uniform(60, 150),
    }.items():
        seconds = token_requests(leeway)
        total = sum(seconds.values())
        peaks = [max(seconds[s] for s in range(start, start + 600)) for start in range(0, 3600, 600)]
        print(f"{name:32} total {total}, mean {total / HOUR:5.1f}/s, peak by ten minutes {peaks}")


if __name__ == "__main__":
    main()
