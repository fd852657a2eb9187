"""Requests while there is a token: what a session costs from day to day."""

from __future__ import annotations

import io
import time

import requests
from contenders import CONTENDERS
from load import Figures, in_turns, seconds, threads
from requests.adapters import HTTPAdapter
from server import Remote
from urllib3 import HTTPResponse


class Canned(HTTPAdapter):
    """Answers at once, without a network."""

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        raw = HTTPResponse(io.BytesIO(b"{}"), headers={"Content-Type": "application/json"}, status=200)
        return self.build_response(request, raw)


def cpu(remote: Remote, rounds: int, number: int) -> Figures:
    """Microseconds of CPU for one request on so many threads, the network taken out."""
    contenders = {name: make(remote.service) for name, make in CONTENDERS.items()}
    for contender in contenders.values():
        contender.session.mount("https://", Canned())
    times = max(1, 256 // number)
    with threads(number) as some:

        def measure(contender: object) -> float:
            started = time.process_time()
            some.calls(contender, remote.service.api_url, times)
            return (time.process_time() - started) / times / number * 1e6

        return in_turns(contenders, rounds, measure)


def throughput(remote: Remote, rounds: int, number: int) -> Figures:
    """Requests per second over TLS, on one session that so many threads share."""
    contenders = {name: make(remote.service) for name, make in CONTENDERS.items()}
    times = max(4, 256 // number)
    with threads(number) as some:

        def measure(contender: object) -> float:
            return times * number / seconds(lambda: some.calls(contender, remote.service.api_url, times))

        return in_turns(contenders, rounds, measure)
