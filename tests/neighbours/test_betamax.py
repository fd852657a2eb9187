"""betamax: a cassette is recorded once, with real traffic, and replayed without; neither secret nor token is in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from betamax import Betamax
from betamax.cassette import Cassette

from gopacs_session.sandbox import Sandbox

TOKEN = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 300}


def leave_out_secrets(cassette: Cassette) -> None:
    """Have a cassette know another secret and another token than those that were used while it was recorded.

    Not before_record, since betamax gives to the session what is left after that.
    """
    for interaction in cassette.interactions:
        request, response = interaction.data["request"], interaction.data["response"]
        if "Authorization" in request["headers"]:
            request["headers"]["Authorization"] = [f"Bearer {TOKEN['access_token']}"]
        request["body"]["string"] = re.sub("client_secret=[^&]*", "client_secret=***", request["body"]["string"])
        if '"access_token"' in response["body"]["string"]:
            response["body"]["string"] = json.dumps(TOKEN)
            response["headers"].pop("Content-Length", None)


def test_a_cassette(sandbox: Sandbox, tmp_path: Path) -> None:
    """A cassette with a mended 401 replays as it was recorded, without a server; it holds no secret and no token."""
    url, tokens = f"{sandbox.api_url}/participants", []
    with sandbox.session() as session, Betamax(session, cassette_library_dir=str(tmp_path)) as recorder:
        recorder.config.before_stop(callback=leave_out_secrets)
        recorder.use_cassette("traffic")
        recorded = session.get(url).json()
        tokens.append(session.access_token)
        sandbox.revoke_tokens()
        assert session.get(url).status_code == 200
        tokens.append(session.access_token)
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (3, 2)

    cassette = (tmp_path / "traffic.json").read_text()
    assert "client_id=sandbox" in cassette
    assert [secret for secret in (sandbox.client_secret, *tokens) if str(secret) in cassette] == []

    session = sandbox.session(client_secret="another")
    with session, Betamax(session, cassette_library_dir=str(tmp_path)).use_cassette("traffic", record="none"):
        assert session.get(url).json() == recorded
        answer = session.get(url)
    assert (answer.status_code, [refusal.status_code for refusal in answer.history]) == (200, [401])
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (3, 2)
