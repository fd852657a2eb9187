"""The sandbox in a process of its own, so that what is measured shares no interpreter with it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from contenders import Service

from gopacs_session.sandbox import Sandbox


class Remote:
    """The other end: switches of the sandbox, and what it counted."""

    def __init__(self, pipe: Connection, service: Service, ca_file: str) -> None:
        self._pipe, self.service, self.ca_file = pipe, service, ca_file

    def ask(self, question: str, *arguments: Any) -> Any:
        self._pipe.send((question, *arguments))
        return self._pipe.recv()

    def delay(self, seconds: float) -> None:
        """Seconds that each token request takes from now on."""
        self.ask("delay", seconds)

    def count(self) -> tuple[int, int]:
        """Token requests, and API requests without a good token, since the last call."""
        token_requests, refused = self.ask("count")
        return token_requests, refused


def serve(pipe: Connection) -> None:
    with Sandbox() as sandbox:
        service = Service(sandbox.environment.token_url, sandbox.api_url, sandbox.client_id, sandbox.client_secret)
        pipe.send((service, sandbox.ca_file))
        while (message := pipe.recv())[0] != "stop":
            answer: Any = None
            if message[0] == "delay":
                sandbox.token_delay = message[1]
            elif message[0] == "count":
                answer = len(sandbox.token_requests), sum(request.status == 401 for request in sandbox.api_requests)
                sandbox.token_requests.clear()
                sandbox.api_requests.clear()
            pipe.send(answer)


@contextmanager
def running() -> Iterator[Remote]:
    """A sandbox until the end of the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    service, ca_file = ours.recv()
    yield Remote(ours, service, ca_file)
    ours.send(("stop",))
    process.join(10)
