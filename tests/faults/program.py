"""What a program's threads do with one session, and what became of it."""

from __future__ import annotations

import gc
import io
import json
import os
import select
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from gopacs_session import GopacsSession
from gopacs_session.adapters import SharedContextAdapter

FAULT_SECONDS = 0.3
IMPATIENT, PATIENT = 0.5, 30.0  # seconds; a busy machine must not look like a fault when there is none
CHILDREN, CALLS_OF_A_CHILD = 3, 6


class WithoutLock:
    """In the place of a cookie jar's lock, which http.cookiejar itself leaves behind if it is interrupted."""

    def acquire(self) -> None: ...
    def release(self) -> None: ...


class Labelling(SharedContextAdapter):
    """Tells the servers which renewal a token request is a try of: those of a thread up to its next API request."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = count(1)
        self._thread = threading.local()

    def start_call(self) -> None:
        self._thread.renewal = None

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        if "/realms/" in str(request.url):
            self._thread.renewal = getattr(self._thread, "renewal", None) or next(self._numbers)
            request.headers["X-Renewal"] = f"{os.getpid()}-{self._thread.renewal}"
        else:
            self.start_call()
        if getattr(self._thread, "is_interrupted", False):
            # urllib3's pool keeps its lock for ever if it is interrupted: no other thread shares this one.
            return HTTPAdapter().send(request, *args, **options)
        return super().send(request, *args, **options)

    @contextmanager
    def interrupted(self) -> Iterator[None]:
        """The calling thread may be interrupted in this block."""
        self._thread.is_interrupted = True
        try:
            yield
        finally:
            self._thread.is_interrupted = False

    def idle_connections(self) -> int:
        """How many wait in urllib3's pools to be used again."""
        pools = [self.poolmanager.pools[key] for key in self.poolmanager.pools.keys()]  # noqa: SIM118 - no iterator
        return sum(bool(idle and idle.sock) for pool in pools for idle in pool.pool.queue)


class Interrupted(BaseException):
    """What a signal handler raises, as KeyboardInterrupt."""


@dataclass
class Program:
    """The threads' requests, and those of the main thread, which is interrupted and forks.

    Attributes:
        outcomes: status of an answer, or name of an error: how often.
        served: the paths whose answer was 200.
        mixed_up: answers to somebody else's request.
        untyped: errors that are none of requests.
        interruptions: what the interrupted thread's requests ended in.
        children: what became of the requests of each child; None if it did not finish.
    """

    session: GopacsSession
    adapter: Labelling
    url: str
    outcomes: Counter[str] = field(default_factory=Counter)
    served: list[str] = field(default_factory=list)
    mixed_up: list[Any] = field(default_factory=list)
    untyped: list[Exception] = field(default_factory=list)
    interruptions: Counter[str] = field(default_factory=Counter)
    children: list[dict[str, int] | None] = field(default_factory=list)
    kept_errors: list[Exception] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _folder: str = "messages"
    _raises: type[BaseException] | None = None

    def call(self, timeout: float, bodies: int = 4) -> str:
        """A request with one of so many kinds of body; its status, or the name of its error."""
        number = next(self._numbers)
        content, kind = f"message {number}".encode(), number % bodies
        body = (None, content, io.BytesIO(content), iter([content]))[kind]
        self.adapter.start_call()
        try:
            outcome = self._send("POST" if kind else "GET", f"/{self._folder}/{number}", body, timeout)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            outcome = type(error).__name__
            self.kept_errors.append(error)
            if not isinstance(error, requests.RequestException):
                self.untyped.append(error)
        self.outcomes[outcome] += 1
        return outcome

    def _send(self, method: str, path: str, body: Any, timeout: float) -> str:
        stream = body is not None and path.endswith(("0", "5"))
        with self.session.request(method, self.url + path, data=body, timeout=timeout, stream=stream) as answer:
            if answer.status_code == 200:
                echo = answer.json()
                if (echo["method"], echo["path"]) != (method, path):
                    self.mixed_up.append((method, path, echo))
                self.served.append(path)
            return str(answer.status_code)

    def calls(self, seconds: float) -> None:
        """Request after request, for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.call(IMPATIENT)

    def be_interrupted(self, random: Random) -> None:
        """Request after request in the main thread, during which a signal handler raises sooner or later."""
        before = signal.signal(signal.SIGALRM, self._handler)
        end = time.monotonic() + FAULT_SECONDS
        with pytest.MonkeyPatch.context() as patch:
            # Some strike in a finalizer, where Python drops them, or leave it to one to close a socket of urllib3's.
            patch.setattr(sys, "unraisablehook", lambda _: None)
            while time.monotonic() < end:
                if random.random() < 0.5:
                    self.session.token = None
                self._raises = random.choice([Interrupted, TimeoutError])
                self.interruptions[self._interrupted_call(random.uniform(0.0005, 0.03))] += 1
            gc.collect()
        signal.signal(signal.SIGALRM, before)

    def _handler(self, _: int, frame: Any) -> None:
        raises, self._raises = self._raises, None
        if raises:
            # os.path.exists takes TimeoutError, an OSError, for a no.
            raise Interrupted if frame.f_code.co_name == "exists" else raises

    def _interrupted_call(self, seconds: float) -> str:
        path = f"{self.url}/interrupted/{next(self._numbers)}"
        self.adapter.start_call()
        try:
            with self.adapter.interrupted():
                signal.setitimer(signal.ITIMER_REAL, seconds)
                status = self.session.get(path, timeout=PATIENT).status_code
                self._raises = None
                return str(status)
        except (Interrupted, OSError) as error:  # requests has words of its own for some that it meets.
            return type(error).__name__

    def fork(self) -> None:
        """Children one after the other, which send requests while the parent's threads do, too."""
        for _ in range(CHILDREN):
            reader, writer = os.pipe()
            child = os.fork()
            if not child:
                self._be_a_child(writer)
            os.close(writer)
            ended = select.select([reader], [], [], PATIENT)[0]
            if not ended:
                os.kill(child, signal.SIGKILL)
            with os.fdopen(reader, "rb") as report:
                told = json.loads(report.read() or "null")
            os.waitpid(child, 0)
            self.children.append(told and told["outcomes"])
            self.served += told["served"] if told else []

    def _be_a_child(self, writer: int) -> None:
        try:
            self._folder, self.outcomes, self.served = f"messages-{os.getpid()}", Counter(), []
            for _ in range(CALLS_OF_A_CHILD):
                self.call(PATIENT, bodies=3)
            os.write(writer, json.dumps({"outcomes": self.outcomes, "served": self.served}).encode())
        finally:
            os._exit(0)
