"""What is measured: figures by measure and contender, one for each round.

The contenders take turns, in another order in each round, so that a slow moment of the machine strikes them all. That
is why this is not pyperf, which finishes one before it begins with the next, and times calls on one thread.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from typing import Any

from contenders import CONTENDERS, HTTPX, OURS, PARENT, PLAIN, token
from servers import Service

CPU, RATE = "CPU of a request", "Requests per second"
BURST = "Cold burst, {} threads"
EXPIRY = "Expiry under 128 threads: slowest request"
TOKEN_REQUESTS = "Expiry under 128 threads: token requests"
UNAUTHENTICATED = "Expiry under 128 threads: requests without a token"
IMPORT = "Start of Python and import"
PARTS = "its parts"

Figures = dict[str, dict[str, list[float]]]


def measure_all(service: Service, rounds: int) -> Figures:
    """All that the table shows."""
    return {
        **warm_requests(service, rounds * 10, 50),
        **cold_burst(service, rounds, 16),
        **cold_burst(service, rounds, 64),
        **expiry(service, rounds, 128),
        **imports(rounds),
    }


def warm_requests(service: Service, rounds: int, number: int) -> Figures:
    """Microseconds of CPU of a request on an open connection, and requests per second, on one thread."""
    clients = {name: CONTENDERS[name](service) for name in (OURS, PLAIN, PARENT)}

    def measure(client: Any) -> tuple[float, float]:
        started, cpu = time.perf_counter(), time.process_time()
        for _ in range(number):
            client.get(service.api_url)
        return (time.process_time() - cpu) / number * 1e6, number / (time.perf_counter() - started)

    for client in clients.values():
        client.get(service.api_url)
    return columns((CPU, RATE), in_turns(clients, rounds, measure))


def cold_burst(service: Service, rounds: int, threads: int) -> Figures:
    """Seconds from nothing but a token to the last answer to the first request of each thread."""

    def measure(make: Callable[[Service], Any]) -> float:
        started = time.perf_counter()
        client = make(service)
        burst(client, service.api_url, pool, threads)
        taken = time.perf_counter() - started
        client.close()
        return taken

    with ThreadPoolExecutor(threads) as pool:
        return {
            BURST.format(threads): in_turns({name: CONTENDERS[name] for name in (OURS, PLAIN, HTTPX)}, rounds, measure)
        }


def expiry(service: Service, rounds: int, threads: int) -> Figures:
    """Seconds of the slowest request of threads that all find the token expired, and what the servers saw.

    The parts are a token request, and a burst of as many requests with the new token.
    """
    ours, textbook = CONTENDERS[OURS](service), CONTENDERS[PARENT](service)

    def expired(client: Any) -> float:
        client.token = token(-1)
        return burst(client, service.api_url, pool, threads)

    def parts(client: Any) -> float:
        return seconds(client.fetch_token) + burst(client, service.api_url, pool, threads)

    def measure(case: tuple[Callable[[Any], float], Any]) -> tuple[float, int, int]:
        service.counts()
        slowest = case[0](case[1])
        case[1].get(service.api_url)  # nginx answers it once all of the others are in its log.
        return slowest, *service.counts()

    with ThreadPoolExecutor(threads) as pool:
        for client in (ours, textbook):
            burst(client, service.api_url, pool, threads)
        figures = in_turns({OURS: (expired, ours), PARTS: (parts, ours), PARENT: (expired, textbook)}, rounds, measure)
    return columns((EXPIRY, TOKEN_REQUESTS, UNAUTHENTICATED), figures)


def imports(rounds: int) -> Figures:
    """Milliseconds."""

    def measure(module: str) -> float:
        return seconds(lambda: subprocess.run([sys.executable, "-c", f"import {module}"], check=True)) * 1e3

    modules = {OURS: "gopacs_session", PARENT: "requests_oauthlib"}
    in_turns(modules, 1, measure)  # Compiles what is not compiled yet.
    return {IMPORT: in_turns(modules, rounds, measure)}


def burst(client: Any, url: str, pool: ThreadPoolExecutor, threads: int) -> float:
    """Seconds of the slowest of so many requests, one in each thread, all set off together."""
    barrier = Barrier(threads)

    def once(_: int) -> float:
        barrier.wait()
        return seconds(lambda: client.get(url))

    return max(pool.map(once, range(threads)))


def in_turns(contenders: Mapping[str, Any], rounds: int, measure: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """What is measured of each contender in each round, shuffled."""
    figures: dict[str, list[Any]] = {name: [] for name in contenders}
    order, chance = list(contenders), Random(1)
    for _ in range(rounds):
        chance.shuffle(order)
        for name in order:
            figures[name].append(measure(contenders[name]))
    return figures


def columns(measures: tuple[str, ...], figures: dict[str, list[Any]]) -> Figures:
    """By measure, what was measured together."""
    return {
        measure: {name: [row[n] for row in rows] for name, rows in figures.items()}
        for n, measure in enumerate(measures)
    }


def seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
