"""Sentry: what it takes along of an error, local variables and breadcrumbs included."""

from __future__ import annotations

from gopacs_session.sandbox import Sandbox
from neighbours.programs import run

PROGRAM = """
    import sys

    import sentry_sdk
    from sentry_sdk.transport import Transport

    from gopacs_session import GopacsSession

    class Collected(Transport):
        def capture_envelope(self, envelope):
            print(envelope.serialize().decode())

    sentry_sdk.init("https://key@sentry.invalid/1", transport=Collected, send_default_pii=True, traces_sample_rate=1.0)
    session = GopacsSession.from_env()
    with sentry_sdk.start_transaction(name="job"):
        session.get(sys.argv[1])
        session.get(sys.argv[1] + "/once-more")
    try:
        GopacsSession.from_env(client_id="unknown").get(sys.argv[1])
    except Exception as error:
        sentry_sdk.capture_exception(error)
"""


def test_no_event_tells_token_or_secret(gopacs_sandbox: Sandbox) -> None:
    """A transaction with a mended 401, and the event of a refused client, hold neither tokens nor the secret."""
    gopacs_sandbox.answer_next_api_requests(1, 401)
    told = run(PROGRAM, gopacs_sandbox.api_url)
    assert "/once-more" in told
    assert "InvalidClientError" in told
    tokens = {str(exchange.authorization).split()[1] for exchange in gopacs_sandbox.api_requests}
    assert len(tokens) == 2
    assert [secret for secret in (gopacs_sandbox.client_secret, *tokens) if secret in told] == []
