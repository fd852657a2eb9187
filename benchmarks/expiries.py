"""What happens when a token expires under a number of threads, while the token endpoint takes 200 ms."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from contenders import CONTENDERS, Contender
from load import Figures, Threads, in_turns, threads
from requests.adapters import HTTPAdapter
from server import Remote
from table import OURS, PLAIN

DELAY = 0.2  # seconds


class Expiry(NamedTuple):
    """A figure of each round, by contender.

    Attributes:
        token_requests: how many there were.
        refused: requests that reached the API without a good token.
        slowest: seconds that the slowest request took, token request included.
    """

    token_requests: Figures
    refused: Figures
    slowest: Figures


def at_an_expiry(remote: Remote, rounds: int, number: int) -> Expiry:
    """Every contender with a dead token; ours also with none, with a stale one, and with one that is neither."""
    cases = {name: (CONTENDERS[name](remote.service), _expire) for name in CONTENDERS if name != PLAIN}
    cases |= {f"{OURS}, {case}": (CONTENDERS[OURS](remote.service), make) for case, make in OF_OURS.items()}
    for contender, _ in cases.values():
        contender.session.mount("https://", HTTPAdapter(pool_maxsize=number))
    with threads(number) as some:
        for contender, _ in cases.values():
            some.burst(lambda c=contender: c.get(remote.service.api_url))  # Makes the connections.
        rows = in_turns(cases, rounds, lambda case: _burst(remote, *case, some))
    return Expiry(*({case: [row[n] for row in of] for case, of in rows.items()} for n in range(3)))


def _expire(contender: Contender) -> None:
    contender.expire()


def _token(**changes: Callable[[], float]) -> Callable[[Contender], None]:
    """Give our session a token with these changes."""

    def change(contender: Contender) -> None:
        session: Any = contender.session
        session.fetch_token()
        session.token = {**session.token, **{name: value() for name, value in changes.items()}}

    return change


def _forget(contender: Contender) -> None:
    contender.session.token = None  # type: ignore[attr-defined]


OF_OURS: dict[str, Callable[[Contender], None]] = {
    "no token": _forget,
    "stale token": _token(expires_at=lambda: time.time() + 30),
    "fresh token": _token(),
}


def _burst(
    remote: Remote, contender: Contender, bring_about: Callable[[Contender], None], some: Threads
) -> tuple[int, int, float]:
    bring_about(contender)
    remote.delay(DELAY)
    remote.count()
    slowest = max(some.burst(lambda: contender.get(remote.service.api_url)))
    finish_renewals()
    remote.delay(0)
    return *remote.count(), slowest


def finish_renewals() -> None:
    """Wait for what our sessions do behind requests."""
    for thread in threading.enumerate():
        if thread.name == "gopacs_session renewal":
            thread.join()
