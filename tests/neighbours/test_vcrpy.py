"""vcrpy: a cassette is recorded once, with real traffic, and replayed without; with filters it holds no secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
import vcr

from gopacs_session import GopacsAuth
from gopacs_session.sandbox import Sandbox


def without_token(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer as it is kept: another token takes the place of one that it brings."""
    if b'"access_token"' not in answer["body"]["string"]:
        return answer
    body = json.dumps({"access_token": "a-token", "token_type": "Bearer", "expires_in": 300}).encode()
    return {**answer, "headers": {"Content-Type": ["application/json"]}, "body": {"string": body}}


RECORDER = vcr.VCR(
    filter_headers=["Authorization"],
    filter_post_data_parameters=["client_secret"],
    before_record_response=without_token,
)


def by_session(sandbox: Sandbox) -> Callable[[str], requests.Response]:
    return sandbox.session().get


def by_auth(sandbox: Sandbox) -> Callable[[str], requests.Response]:
    auth = GopacsAuth(sandbox.client_id, sandbox.client_secret, sandbox.environment)
    return lambda url: requests.get(url, auth=auth, verify=sandbox.ca_file, timeout=60)


@pytest.mark.parametrize("client", [by_session, by_auth])
def test_a_cassette(
    sandbox: Sandbox, tmp_path: Path, client: Callable[[Sandbox], Callable[[str], requests.Response]]
) -> None:
    """A cassette with a 401 and its replay plays as it was recorded, without a server; the filters kept secrets out."""
    file = tmp_path / "traffic.yaml"
    with RECORDER.use_cassette(str(file)):
        get = client(sandbox)
        recorded = get(f"{sandbox.api_url}/participants").json()
        sandbox.revoke_tokens()
        assert get(f"{sandbox.api_url}/messages").status_code == 200
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (3, 2)
    secrets = {sandbox.client_secret, *(str(exchange.authorization).split()[-1] for exchange in sandbox.api_requests)}
    assert len(secrets) == 3
    assert "client_id=sandbox" in file.read_text()
    assert [secret for secret in secrets if secret in file.read_text()] == []

    sandbox.client_secret = "another"
    with RECORDER.use_cassette(str(file), record_mode="none") as cassette:
        get = client(sandbox)
        assert get(f"{sandbox.api_url}/participants").json() == recorded
        answer = get(f"{sandbox.api_url}/messages")
        assert (answer.status_code, [refusal.status_code for refusal in answer.history]) == (200, [401])
        assert cassette.all_played
    assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (3, 2)
