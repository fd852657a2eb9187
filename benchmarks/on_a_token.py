"""Requests while there is a token: from day to day, in a burst on no connection, and in a large environment."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable
from dataclasses import replace
from unittest import mock

import requests
from contenders import CONTENDERS, NEAREST, OURS, PLAIN, Contender, Service
from load import Figures, columns, in_turns, threads
from requests.adapters import HTTPAdapter
from servers import Nginx
from urllib3 import HTTPResponse

REQUESTS = 256  # of a contender in a round


class Canned(HTTPAdapter):
    """Answers at once, without a network."""

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        raw = HTTPResponse(io.BytesIO(b"{}"), headers={"Content-Type": "application/json"}, status=200)
        return self.build_response(request, raw)


def _without_network(nginx: Nginx) -> dict[str, Contender]:
    contenders = {name: make(nginx.service) for name, make in CONTENDERS.items()}
    for contender in contenders.values():
        if isinstance(contender.client, requests.Session):
            contender.client.mount("https://", Canned())
    return {name: each for name, each in contenders.items() if isinstance(each.client, requests.Session)}


def cpu(nginx: Nginx, rounds: int, number: int) -> Figures:
    """Microseconds of CPU for a request on so many threads, the network taken out."""
    url = nginx.service.api_url
    with threads(number) as some:

        def measure(contender: Contender) -> float:
            return some.calls(lambda: contender.get(url), REQUESTS // number)[1] * 1e6

        return in_turns(_without_network(nginx), rounds, measure)


def throughput(nginx: Nginx, rounds: int, number: int) -> list[Figures]:
    """Requests per second over TLS on a client that so many threads share, µs of CPU for one, and % nginx is busy.

    With many threads, the nearest contenders only: one that throws connections away takes seconds for a round.
    """
    url = nginx.service.api_url
    makers = CONTENDERS if number == 1 else NEAREST
    contenders = {name: make(nginx.service) for name, make in makers.items()}
    with threads(number) as some:

        def measure(contender: Contender) -> tuple[float, float, float]:
            before = nginx.cpu()
            wall, cpu = some.calls(lambda: contender.get(url), REQUESTS // number)
            busy = (nginx.cpu() - before) / (wall * REQUESTS)
            return 1 / wall, cpu * 1e6, busy * 100

        for contender in contenders.values():
            some.burst(lambda c=contender: c.get(url))  # Makes the connections.
        return columns(in_turns(contenders, rounds, measure))


def cold_burst(nginx: Nginx, rounds: int, number: int) -> Figures:
    """Seconds from nothing but a token to the answers to the first request of so many threads."""
    known: Service = replace(nginx.service, known=nginx.service.token())

    def measure(make: Callable[[Service], Contender]) -> float:
        started = time.perf_counter()
        contender = make(known)
        slowest = some.burst(lambda: contender.get(known.api_url))
        taken = time.perf_counter() - started
        contender.close()
        return max(slowest, taken)  # The former is FAILED if a request failed.

    with threads(number) as some:
        return in_turns(NEAREST, rounds, measure)


def environment(nginx: Nginx, rounds: int, sizes: tuple[int, ...]) -> Figures:
    """Microseconds of CPU for a request with so many environment variables, the network taken out."""
    url, contenders = nginx.service.api_url, _without_network(nginx)

    def measure(case: tuple[str, int]) -> float:
        variables = {f"SERVICE_{n}_SERVICE_PORT_HTTPS": "tcp://10.0.0.1:8443" for n in range(case[1])}
        with mock.patch.dict(os.environ, variables, clear=True):
            return one.calls(lambda: contenders[case[0]].get(url), REQUESTS)[1] * 1e6

    cases = {f"{name}, {size:,} variables": (name, size) for size in sizes for name in (OURS, PLAIN)}
    with threads(1) as one:
        return in_turns(cases, rounds, measure)
