"""What happens when a token has expired."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import requests
from contenders import CONTENDERS, HTTPX, OURS, PARENT, PLAIN, Contender
from load import Figures, Threads, columns, in_turns, seconds, threads
from servers import Nginx, Remote

DELAY = 0.2  # seconds that a token request takes, of threads that find the token expired

STALE, FRESH = f"{OURS}, stale token", f"{OURS}, fresh token"
SUM = "sum of its parts"


def under_threads(remote: Remote, rounds: int, number: int, *, all_of_them: bool) -> list[Figures]:
    """Token requests, requests that the API got without a good token, and seconds of the slowest one.

    Every contender has a dead token; ours also a stale and a fresh one.
    """
    makers = {name: CONTENDERS[name] for name in (CONTENDERS if all_of_them else [OURS])}
    contenders = {name: contender for name, make in makers.items() if (contender := make(remote.service)).expire}
    ours = {name: CONTENDERS[OURS](remote.service) for name in OF_OURS}
    cases = {name: (each, each.expire) for name, each in contenders.items()}
    cases |= {name: (each, lambda e=each, n=name: OF_OURS[n](e)) for name, each in ours.items()}
    with threads(number) as some:
        for contender, _ in cases.values():
            _enlarge_pool(contender, number)
            some.burst(lambda c=contender: c.get(remote.service.api_url))  # Makes the connections.
        found = in_turns(cases, rounds, lambda case: _burst(remote, *case, some))
    token_requests, refused, slowest = columns(found)
    slowest[SUM] = [DELAY + figure for figure in slowest[FRESH]]
    return [token_requests, refused, slowest]


def _enlarge_pool(contender: Contender, number: int) -> None:
    if isinstance(contender.client, requests.Session):
        kind = type(contender.client.get_adapter("https://localhost"))
        contender.client.mount("https://", kind(pool_maxsize=number))


def _new_token(contender: Contender, **changes: float) -> None:
    contender.client.fetch_token()
    contender.client.token = {**contender.client.token, **changes}


OF_OURS: dict[str, Callable[[Contender], None]] = {
    STALE: lambda contender: _new_token(contender, expires_at=time.time() + 30),
    FRESH: _new_token,
}


def _burst(
    remote: Remote, contender: Contender, bring_about: Callable[[], None], some: Threads
) -> tuple[int, int, float]:
    bring_about()
    remote.delay(DELAY)
    remote.count()
    slowest = some.burst(lambda: contender.get(remote.service.api_url))
    finish_renewals()
    remote.delay(0)
    return *remote.count(), slowest


def finish_renewals() -> None:
    """Wait for what our sessions do behind requests."""
    for thread in threading.enumerate():
        if thread.name == "gopacs_session renewal":
            thread.join()


def after_an_idle_hour(nginx: Nginx, rounds: int) -> Figures:
    """Seconds of the first request once the server has closed all connections and the token has expired.

    Its parts are a token request, and a request on a fresh token, each on a connection of its own. Plain requests does
    both by hand.
    """
    service = nginx.service
    contenders = {name: CONTENDERS[name](service) for name in (OURS, PLAIN, HTTPX, PARENT)}
    ours, plain = contenders[OURS], contenders[PLAIN]

    def whole(contender: Contender) -> Callable[[], float]:
        def measure() -> float:
            if contender.expire:
                contender.expire()
            nginx.restart()
            if contender is plain:
                return seconds(lambda: plain.client.post(service.token_url, data=service.grant()).json()) + seconds(
                    lambda: plain.get(service.api_url)
                )
            return seconds(lambda: contender.get(service.api_url))

        return measure

    def parts() -> float:
        nginx.restart()
        token_request = seconds(ours.client.fetch_token)
        nginx.restart()
        return token_request + seconds(lambda: ours.get(service.api_url))

    cases = {name: whole(each) for name, each in contenders.items()} | {SUM: parts}
    return in_turns(cases, rounds, lambda measure: measure())
