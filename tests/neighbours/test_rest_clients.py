"""dlt and uplink: libraries that make REST clients, given an auth object or a session."""

from __future__ import annotations

import pytest
import uplink
from dlt.sources.helpers.rest_client import RESTClient

from gopacs_session import GopacsAuth, GopacsSession
from gopacs_session.sandbox import Sandbox


def test_dlt(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A RESTClient of dlt's takes the auth object; its pages share a token, and a 401 is mended."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", sandbox.ca_file)
    auth = GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)
    client = RESTClient(base_url=sandbox.api_url, auth=auth)
    assert client.get("participants").status_code == 200
    sandbox.revoke_tokens()
    assert [page[0]["path"] for page in client.paginate("messages", data_selector="$")] == ["/messages"]
    assert [(exchange.path, exchange.status) for exchange in sandbox.api_requests] == [
        ("/participants", 200),
        ("/messages", 401),
        ("/messages", 200),
    ]
    assert len(sandbox.token_requests) == 2


class Participants(uplink.Consumer):
    """An API as uplink describes it."""

    @uplink.returns.json
    @uplink.get("participants/{domain}")
    def participant(self, domain):  # type: ignore[no-untyped-def]
        """What the API tells of a domain."""


def test_uplink(sandbox: Sandbox, session: GopacsSession) -> None:
    """A consumer of uplink's takes the session as its client."""
    participants = Participants(base_url=sandbox.api_url, client=session)
    assert participants.participant("dso.example")["path"] == "/participants/dso.example"
    sandbox.revoke_tokens()
    assert participants.participant("dso.example")["path"] == "/participants/dso.example"
    assert [exchange.status for exchange in sandbox.api_requests] == [200, 401, 200]
