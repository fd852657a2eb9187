"""The schedule of a storm: the faults of the proxy, and those of servers, clocks and processes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import format_datetime
from functools import partial
from random import Random
from typing import Any

from support import finish_renewals

from gopacs_session import GopacsSession
from gopacs_session.sandbox import Exchange, Sandbox

from .breakages import ON_CONNECTION, ON_REQUEST, young_token
from .program import Program
from .proxy import API_HOST, AUTH_HOST, Names, OnConnection, OnRequest, Proxy

INVALID_TOKEN = {"WWW-Authenticate": 'Bearer realm="gopacs", error="invalid_token"'}
REFUSED, YOUNG, ASKED = 1, 5, 30  # seconds for which a failure is remembered


@dataclass
class Stage:
    """What the faults act upon.

    Attributes:
        names: the resolver.
        passed: seconds that both clocks are ahead of the machine's.
        wall_error: seconds that the wall clock is ahead of that.
        revocations: share of the requests that are followed by a revocation of all tokens.
        remembered: seconds for which the session remembers what the fault taught it.
        meanwhile: what the main thread does during the fault.
    """

    random: Random
    names: Names = field(default_factory=Names)
    passed: float = 0.0
    wall_error: float = 0.0
    revocations: float = 0.0
    remembered: float = 0.0
    meanwhile: Callable[[Program], None] | None = None

    def act_upon(self, sandbox: Sandbox, proxy: Proxy, session: GopacsSession) -> None:
        """Take these as what the faults are done to."""
        self.sandbox, self.proxy, self.session = sandbox, proxy, session

    def monotonic(self) -> float:
        """What the session takes for the monotonic clock."""
        return time.monotonic() + self.passed

    def wall(self) -> float:
        """What the session takes for the time of day."""
        return time.time() + self.passed + self.wall_error

    def on_request(self, _: Exchange) -> None:
        """For the sandbox to call."""
        if self.revocations and self.random.random() < self.revocations:
            self.sandbox.revoke_tokens()

    def lose_token(self) -> None:
        """A token is needed, because there is none or because the API refuses the one that there is."""
        if self.random.random() < 0.5:
            self.session.token = None
        else:
            self.refuse_tokens()

    def refuse_tokens(self) -> None:
        """Revoke them; where the next one is refused, too, its refusals stand until it is 5 s old."""
        self.sandbox.revoke_tokens()
        self.remembered = max(self.remembered, YOUNG)

    def clear_up(self) -> None:
        """End every fault; return when nothing suffers from one any more, and nobody remembers a failure."""
        self.names.failing = frozenset()
        self.revocations, self.meanwhile = 0.0, None
        self.sandbox.client_enabled = True
        self.sandbox.answer_next_token_requests(0, 200)
        self.sandbox.answer_next_api_requests(0, 200)
        self.proxy.heal()
        finish_renewals()
        self.passed, self.remembered = self.passed + self.remembered, 0.0


Fault = Callable[[Stage], None]


def breaking_connections(fault: OnConnection, stage: Stage) -> None:
    stage.proxy.break_connections(fault, share=stage.random.uniform(0.2, 1))


def breaking_requests(fault: OnRequest, stage: Stage) -> None:
    tokens, api = stage.random.choice([(True, False), (False, True), (True, True)])
    # Token requests are few: a fault that is meant for them alone hits all of them, and there is one in any case.
    stage.proxy.break_requests(fault, share=stage.random.uniform(0.2, 1) if api else 1, tokens=tokens, api=api)
    if api:
        stage.lose_token()
    else:
        stage.session.token = None


def names_unknown(stage: Stage) -> None:
    """Names are not resolved, and there is no connection left to do without."""
    stage.names.failing = frozenset(stage.random.choice([[AUTH_HOST], [API_HOST], [AUTH_HOST, API_HOST]]))
    stage.proxy.hang_up()
    stage.lose_token()


def too_many_requests(stage: Stage) -> None:
    """Both servers limit the rate, and ask to come back in 2 s, which they say in one of two ways."""
    date = format_datetime(datetime.fromtimestamp(stage.wall() + 2, timezone.utc), usegmt=True)
    headers = {"Retry-After": stage.random.choice(["2", date])}
    stage.sandbox.answer_next_token_requests(8, 429, headers=headers)
    stage.sandbox.answer_next_api_requests(100, 429, headers=headers)
    stage.lose_token()


def asked_to_wait(stage: Stage) -> None:
    """The authorization server asks to wait for longer than anybody would."""
    stage.sandbox.answer_next_token_requests(math.inf, 429, headers={"Retry-After": str(ASKED)})
    stage.remembered = ASKED
    stage.session.token = None


def gateways_page(stage: Stage) -> None:
    """A gateway answers for both servers, in HTML."""
    stage.sandbox.answer_next_token_requests(4, 502)
    stage.sandbox.answer_next_api_requests(100, 502)
    stage.lose_token()


def client_disabled(stage: Stage) -> None:
    """The credentials are refused."""
    stage.sandbox.client_enabled = False
    stage.remembered = REFUSED
    stage.session.token = None


def stubborn_api(stage: Stage) -> None:
    """The API refuses whatever token it is given."""
    stage.sandbox.answer_next_api_requests(math.inf, stage.random.choice([401, 403]), headers=INVALID_TOKEN)
    stage.remembered = YOUNG


def clock_behind(stage: Stage) -> None:
    """The API takes no token in the first moments of its life."""
    stage.proxy.break_requests(young_token, share=1, tokens=False)
    stage.remembered = YOUNG
    stage.lose_token()


def revocations(stage: Stage) -> None:
    """Tokens are revoked time and again."""
    stage.revocations = stage.random.uniform(0.002, 0.05)
    stage.remembered = YOUNG


def clock_jumps(stage: Stage) -> None:
    """The wall clock jumps, and the session's token goes through a store."""
    stored = stage.session.token
    stage.wall_error += stage.random.choice([3600, -3600])
    stage.session.token = stored


def machine_suspended(stage: Stage) -> None:
    """Two hours, which end every token, and of which the monotonic clock knows nothing."""
    stage.wall_error += 7200
    stage.sandbox.revoke_tokens()


def wall_clock_set_back(stage: Stage) -> None:
    """An hour back, and then the life of every token passes."""
    stage.wall_error -= 3600
    stage.passed += stage.sandbox.token_lifetime
    stage.sandbox.revoke_tokens()


def interrupts(stage: Stage) -> None:
    """Signal handlers raise in the main thread, which sends requests and renews the token."""
    stage.session.token = None
    stage.meanwhile = lambda program: program.be_interrupted(stage.random)


def forks(stage: Stage) -> None:
    """Children are forked in mid-flight, and send requests on the session that they got."""
    stage.session.token = None
    stage.meanwhile = Program.fork


def _called(fault: Any, part: Any) -> tuple[str, Fault]:
    return part.__name__, partial(fault, part)


FAULTS: dict[str, Fault] = {
    **dict(_called(breaking_connections, fault) for fault in ON_CONNECTION),
    **dict(_called(breaking_requests, fault) for fault in ON_REQUEST),
    "name unknown": names_unknown,
    "429": too_many_requests,
    "502 in HTML": gateways_page,
    "client disabled": client_disabled,
    "API refuses every token": stubborn_api,
    "API's clock behind": clock_behind,
    "revocations": revocations,
    "clock jumps": clock_jumps,
    "asked to wait": asked_to_wait,
    "machine suspended": machine_suspended,
    "wall clock set back": wall_clock_set_back,
    "interrupts": interrupts,
    "forks": forks,
}
