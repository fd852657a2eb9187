"""vcrpy: a cassette is recorded once, with real traffic, and replayed without; neither secret nor token is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
import vcr

from gopacs_session import GopacsAuth, GopacsSession
from gopacs_session.sandbox import Sandbox

TOKEN = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 300}


def without_token(answer: dict[str, Any]) -> dict[str, Any]:
    """What is kept of an answer: that of the token endpoint brings another token."""
    if b'"access_token"' not in answer["body"]["string"]:
        return answer
    body = json.dumps(TOKEN).encode()
    return {**answer, "headers": {"Content-Type": ["application/json"]}, "body": {"string": body}}


@pytest.fixture
def recorder(tmp_path: Path) -> vcr.VCR:
    return vcr.VCR(
        cassette_library_dir=str(tmp_path),
        filter_headers=["Authorization"],
        filter_post_data_parameters=["client_secret"],
        before_record_response=without_token,
    )


def test_a_cassette(sandbox: Sandbox, recorder: vcr.VCR, tmp_path: Path) -> None:
    """A cassette with a mended 401 replays as it was recorded, without a server; it holds no secret and no token."""
    url, tokens = f"{sandbox.api_url}/participants", []
    with recorder.use_cassette("traffic.yaml"), sandbox.session() as session:
        recorded = session.get(url).json()
        tokens.append(session.access_token)
        sandbox.revoke_tokens()
        assert session.get(url, params={"again": "yes"}).status_code == 200
        tokens.append(session.access_token)
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (3, 2)

    cassette = (tmp_path / "traffic.yaml").read_text()
    assert "client_id=sandbox" in cassette
    assert [secret for secret in (sandbox.client_secret, *tokens) if str(secret) in cassette] == []

    environment = sandbox.environment
    with recorder.use_cassette("traffic.yaml", record_mode="none") as played:
        with GopacsSession("sandbox", "another", environment) as session:
            session.trust_env = False
            assert session.get(url).json() == recorded
            answer = session.get(url, params={"again": "yes"})
        assert (answer.status_code, [refusal.status_code for refusal in answer.history]) == (200, [401])
        assert played.all_played
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (3, 2)


def test_an_auth(sandbox: Sandbox, recorder: vcr.VCR) -> None:
    """A request that an auth object authenticates is recorded and replayed, too."""
    answers = []
    for _ in range(2):
        with recorder.use_cassette("auth.yaml"):
            auth = GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)
            answers.append(requests.get(sandbox.api_url, auth=auth, verify=sandbox.ca_file, timeout=60).json())
    assert answers[0] == answers[1]
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (1, 1)
