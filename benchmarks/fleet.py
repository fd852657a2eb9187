"""What a fleet that starts in the same second asks of the authorization server: python benchmarks/fleet.py

Each session sends ten requests a second; the first that finds the token stale has it renewed. The server answers one
token request after the other, as many a second as it can, those of clients that have given up among them.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from random import Random

SESSIONS, HOUR, LIFE, RATE = 10_000, 3600.0, 300.0, 10.0
TRIES, TOKEN_TIMEOUT, PAUSE_AFTER_FAILURE, UNUSABLE = 3, 10.0, 5.0, 5.0  # as in the session

Leeway = Callable[[Random], float]


@dataclass
class Session:
    """Its leeway, when its token expires, and since when it has wanted another."""

    leeway: float
    expires_at: float = -inf
    renewing_since: float = 0.0


@dataclass
class Fleet:
    """An hour of a fleet.

    Attributes:
        capacity: token requests that the server answers in a second.
        seconds: token requests in each second.
        failures: renewals that failed.
        longest_wait: seconds that a request waited for a token at most, in the first life of its session, and later.
    """

    capacity: float
    leeway: Leeway
    chance: Random = field(default_factory=lambda: Random(1))
    seconds: Counter[int] = field(default_factory=Counter)
    failures: int = 0
    longest_wait: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def run(self) -> Fleet:
        sessions = [Session(self.leeway(self.chance)) for _ in range(SESSIONS)]
        self._queue = [(self.chance.random(), number, 1) for number in range(SESSIONS)]
        heapq.heapify(self._queue)
        self._server_free_at = 0.0
        while self._queue[0][0] < HOUR:
            now, number, attempt = heapq.heappop(self._queue)
            self._token_request(sessions[number], now, number, attempt)
        return self

    def _token_request(self, session: Session, now: float, number: int, attempt: int) -> None:
        self.seconds[int(now)] += 1
        if attempt == 1:
            session.renewing_since = now
        answered_at = self._server_free_at = max(self._server_free_at, now) + 1 / self.capacity
        if answered_at - now <= TOKEN_TIMEOUT:
            self._token(session, answered_at)
            next_one = session.expires_at - session.leeway + self.chance.expovariate(RATE), 1
        elif attempt < TRIES:
            next_one = now + TOKEN_TIMEOUT + self.chance.uniform(0.5, 1) * 0.5 * 2 ** (attempt - 1), attempt + 1
        else:
            self.failures += 1
            next_one = now + TOKEN_TIMEOUT + PAUSE_AFTER_FAILURE, 1
        heapq.heappush(self._queue, (next_one[0], number, next_one[1]))

    def _token(self, session: Session, now: float) -> None:
        later = session.expires_at > -inf
        waiting_since = max(session.renewing_since, session.expires_at - UNUSABLE)
        self.longest_wait[later] = max(self.longest_wait[later], now - waiting_since)
        session.expires_at = now + LIFE

    def peak(self, from_minute: int, to_minute: int) -> int:
        """Most token requests in a second."""
        return max(self.seconds[second] for second in range(from_minute * 60, to_minute * 60))


LEEWAYS: dict[str, Leeway] = {
    "60": lambda _: 60.0,
    "random.uniform(60, 90)": lambda chance: chance.uniform(60, 90),
}


def main() -> None:
    print("| the server answers | leeway | peak, minutes 1 to 10 | 50 to 60 | longest wait at the start | later |")
    print("|---|---|---|---|---|---|")
    for capacity in (inf, 2000, 1000, 600, 500):
        for name, leeway in LEEWAYS.items():
            fleet = Fleet(capacity, leeway).run()
            start, later = fleet.longest_wait
            print(
                f"| {capacity:,.0f}/s | {name} | {fleet.peak(1, 10):,} | {fleet.peak(50, 60):,} "
                f"| {start:.0f} s{f', {fleet.failures:,} errors' * (fleet.failures > 0)} | {later:.0f} s |"
            )


if __name__ == "__main__":
    main()
