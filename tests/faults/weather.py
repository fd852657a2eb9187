"""The faults of a storm: those of the proxy, and those that servers, clients and clocks are capable of themselves."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from functools import partial
from random import Random
from typing import Any

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Exchange, Sandbox

from .breakages import ON_CONNECTION, ON_REQUEST
from .proxy import API_HOST, AUTH_HOST, Names, OnConnection, OnRequest, Proxy

UNAUTHORIZED = {"WWW-Authenticate": 'Bearer realm="gopacs", error="invalid_token"'}


@dataclass
class Weather:
    """What the faults act upon.

    Attributes:
        names: the resolver.
        wall_error: seconds by which the wall clock is ahead.
        revocations: share of the requests that are followed by a revocation of all tokens.
    """

    random: Random
    names: Names = field(default_factory=Names)
    wall_error: float = 0.0
    revocations: float = 0.0

    def act_upon(self, sandbox: Sandbox, proxy: Proxy, session: GopacsSession) -> None:
        """Take these as what the faults are done to."""
        self.sandbox, self.proxy, self.session = sandbox, proxy, session

    def wall(self) -> float:
        """What the session takes for the time of day."""
        return time.time() + self.wall_error

    def on_request(self, _: Exchange) -> None:
        """For the sandbox to call."""
        if self.revocations and self.random.random() < self.revocations:
            self.sandbox.revoke_tokens()

    def lose_token(self) -> None:
        """A token is needed, because there is none or because the API refuses the one that there is."""
        if self.random.random() < 0.5:
            self.session.token = None
        else:
            self.sandbox.revoke_tokens()

    def clear_up(self) -> None:
        """End every fault; return when nothing suffers from one any more."""
        self.names.failing = frozenset()
        self.revocations = 0.0
        self.sandbox.client_enabled = True
        self.sandbox.answer_next_token_requests(0, 200)
        self.sandbox.answer_next_api_requests(0, 200)
        self.proxy.heal()


Fault = Callable[[Weather], None]


def breaking_connections(fault: OnConnection, weather: Weather) -> None:
    weather.proxy.break_connections(fault, share=weather.random.uniform(0.2, 1))


def breaking_requests(fault: OnRequest, weather: Weather) -> None:
    tokens, api = weather.random.choice([(True, False), (False, True), (True, True)])
    # Token requests are few: a fault that is meant for them alone hits all of them.
    weather.proxy.break_requests(fault, share=weather.random.uniform(0.2, 1) if api else 1, tokens=tokens, api=api)
    weather.lose_token()


def names_unknown(*hosts: str) -> Fault:
    """Names are not resolved, and there is no connection left to do without."""

    def fault(weather: Weather) -> None:
        weather.names.failing = frozenset(hosts)
        weather.proxy.hang_up()
        weather.lose_token()

    return fault


def too_many_requests(retry_after: Callable[[], str]) -> Fault:
    """Both servers limit the rate."""

    def fault(weather: Weather) -> None:
        headers = {"Retry-After": retry_after()}
        weather.sandbox.answer_next_token_requests(8, 429, headers=headers)
        weather.sandbox.answer_next_api_requests(100, 429, headers=headers)
        weather.lose_token()

    return fault


def gateways_page(weather: Weather) -> None:
    """A gateway answers for both servers, in HTML."""
    weather.sandbox.answer_next_token_requests(4, 502)
    weather.sandbox.answer_next_api_requests(100, 502)
    weather.lose_token()


def client_disabled(weather: Weather) -> None:
    """The credentials are refused, and the tokens are of no use any more."""
    weather.sandbox.client_enabled = False
    weather.lose_token()


def stubborn_api(weather: Weather) -> None:
    """The API refuses whatever token it is given."""
    weather.sandbox.answer_next_api_requests(200, 401, headers=UNAUTHORIZED)


def revocations(weather: Weather) -> None:
    """Tokens are revoked time and again."""
    weather.revocations = weather.random.uniform(0.002, 0.05)


def clock_jumps(seconds: float) -> Fault:
    """The wall clock jumps, and the session's token goes through a store."""

    def fault(weather: Weather) -> None:
        stored = weather.session.token
        weather.wall_error += seconds
        weather.session.token = stored

    return fault


def _a_date() -> str:
    return format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)


def _called(fault: Any, part: Any) -> tuple[str, Fault]:
    return part.__name__, partial(fault, part)


FAULTS: dict[str, Fault] = {
    **dict(_called(breaking_connections, fault) for fault in ON_CONNECTION),
    **dict(_called(breaking_requests, fault) for fault in ON_REQUEST),
    "authorization server's name unknown": names_unknown(AUTH_HOST),
    "API's name unknown": names_unknown(API_HOST),
    "both names unknown": names_unknown(AUTH_HOST, API_HOST),
    "429 with seconds": too_many_requests(lambda: "2"),
    "429 with a date": too_many_requests(_a_date),
    "502 in HTML": gateways_page,
    "client disabled": client_disabled,
    "API refuses every token": stubborn_api,
    "revocations": revocations,
    "clock an hour ahead": clock_jumps(3600),
    "clock an hour back": clock_jumps(-3600),
}
