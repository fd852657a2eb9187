"""gevent, grequests and locust: greenlets in place of threads."""

from __future__ import annotations

import pytest

from gopacs_session.sandbox import Sandbox
from neighbours.programs import run

BURST = """
    from gevent import monkey
    {patch}
    import sys
    import grequests
    from gopacs_session import GopacsSession

    def told(request, error):
        print(error)

    session = GopacsSession.from_env()
    {first}
    requests = [grequests.get(sys.argv[1] + f"/{{number}}", session=session) for number in range(64)]
    print({{answer.status_code for answer in grequests.map(requests, size=32, exception_handler=told) if answer}})
"""
REVOKED = 'session.token = {"access_token": "revoked", "expires_in": 300}'


@pytest.mark.parametrize("first", ["", REVOKED], ids=["cold", "revoked"])
def test_greenlets_share_a_token(gopacs_sandbox: Sandbox, first: str) -> None:
    """In a process that gevent has patched, 32 greenlets that need a token at once share one token request."""
    assert run(BURST.format(patch="monkey.patch_all()", first=first), gopacs_sandbox.api_url) == "{200}"
    assert len(gopacs_sandbox.token_requests) == 1


def test_greenlets_that_are_one_thread(gopacs_sandbox: Sandbox) -> None:
    """With thread=False, as grequests patches, greenlets cannot wait for each other: all but one are told so at once.

    With a token that was fetched before, they go on.
    """
    told = run(BURST.format(patch="", first=""), gopacs_sandbox.api_url)
    assert "asked for while this thread was already renewing it" in told
    assert len(gopacs_sandbox.token_requests) == 1
    assert run(BURST.format(patch="", first="session.fetch_token()"), gopacs_sandbox.api_url) == "{200}"
    assert len(gopacs_sandbox.token_requests) == 2


LOCUST = """
    from locust import HttpUser, constant, env, task
    import sys
    import gevent
    from gopacs_session import GopacsAuth

    class Trader(HttpUser):
        host = sys.argv[1]
        wait_time = constant(0.01)
        gopacs = GopacsAuth.from_env()

        def on_start(self):
            self.client.verify = self.gopacs.environment.ca_bundle  # Its trust_env is False.

        @task
        def read(self):
            self.client.get("/messages", auth=self.gopacs)

    environment = env.Environment(user_classes=[Trader])
    runner = environment.create_local_runner()
    runner.start(8, spawn_rate=100)
    while environment.stats.total.num_requests < 100:
        gevent.sleep(0.01)
    runner.quit()
    print(environment.stats.total.num_failures)
"""


def test_locust(gopacs_sandbox: Sandbox) -> None:
    """All users of locust's share one auth object, and with it one token, which a revocation renews."""
    gopacs_sandbox.answer_next_api_requests(1, 401)
    assert run(LOCUST, gopacs_sandbox.api_url) == "0"
    assert len(gopacs_sandbox.api_requests) > 100
    assert len(gopacs_sandbox.token_requests) == 2
