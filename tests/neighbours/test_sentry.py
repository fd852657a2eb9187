"""Sentry, with its defaults: what it takes along of an error, local variables and breadcrumbs included."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event

import pytest
from servers import TOKEN, Answer, Authority, http, raw, reset

from gopacs_session.sandbox import Sandbox
from neighbours.programs import run

PROGRAM = """
    import sys

    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Collected(Transport):
        def capture_envelope(self, envelope):
            print(envelope.serialize().decode())

    sentry_sdk.init("https://key@sentry.invalid/1", transport=Collected, {options})

    from gopacs_session import GopacsSession

    with sentry_sdk.start_transaction(name="job"), GopacsSession.from_env(timeout=2) as session:
        try:
            session.get(sys.argv[1])
        except Exception as error:
            sentry_sdk.capture_exception(error)
"""


def test_a_transaction(gopacs_sandbox: Sandbox) -> None:
    """The spans of requests, those of a replayed 401 included, hold neither token nor secret."""
    gopacs_sandbox.answer_next_api_requests(1, 401)
    sent = run(PROGRAM.format(options="traces_sample_rate=1.0"), gopacs_sandbox.api_url)
    assert '"op":"http.client"' in sent
    tokens = {str(exchange.authorization).split()[1] for exchange in gopacs_sandbox.api_requests}
    assert len(tokens) == 2
    assert [secret for secret in (gopacs_sandbox.client_secret, *tokens) if secret in sent] == []


def test_a_refused_client(gopacs_sandbox: Sandbox) -> None:
    """The event of a token request that was refused does not hold the secret."""
    gopacs_sandbox.client_enabled = False
    sent = run(PROGRAM.format(options="send_default_pii=True"), gopacs_sandbox.api_url)
    assert "InvalidClientError" in sent
    assert gopacs_sandbox.client_secret not in sent


@pytest.mark.parametrize("fault", ["reset", "silence"])
def test_an_api_request_that_fails_on_the_wire(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """When the connection is reset, or the answer times out, the frames of the event hold no token."""
    ended = Event()

    def silence(_: bytes) -> Iterable[bytes]:
        ended.wait(60)
        return []

    answers: dict[str, Answer] = {"reset": reset, "silence": silence}
    with authority.server(raw(http(TOKEN, "Connection: close")), answers[fault]) as server:
        token_url = server.environment.token_url
        settings = {
            "CLIENT_ID": "trader",
            "CLIENT_SECRET": "s3cret",
            "TOKEN_URL": token_url,
            "API_DOMAINS": "localhost",
        }
        for name, value in {**settings, "CA_BUNDLE": authority.ca_file}.items():
            monkeypatch.setenv(f"GOPACS_{name}", value)
        url = token_url.replace("/token", "/messages")
        sent = run(PROGRAM.format(options=""), url)
        ended.set()
    assert b"Authorization: Bearer from-the-raw-server" in server.requests[1]
    assert {"reset": "ConnectionError", "silence": "ReadTimeout"}[fault] in sent
    assert "from-the-raw-server" not in sent
