"""Airflow's HttpHook: it makes a session of its own for each run, and asks its auth_type for an auth object."""

from __future__ import annotations

import json
from functools import cache, partial

import pytest
from airflow.providers.http.hooks.http import HttpHook

from gopacs_session import GopacsAuth
from gopacs_session.sandbox import Sandbox


def test_a_hook(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Login and password of the connection are id and secret; runs share a token, and a 401 is mended."""
    connection = {
        "conn_type": "http",
        "host": sandbox.api_url,
        "login": sandbox.client_id,
        "password": sandbox.client_secret,
        "extra": {"verify": sandbox.ca_file},
    }
    monkeypatch.setenv("AIRFLOW_CONN_GOPACS", json.dumps(connection))
    hook = HttpHook("GET", http_conn_id="gopacs", auth_type=cache(partial(GopacsAuth, environment=sandbox.environment)))
    for number in range(3):
        assert hook.run(f"/{number}").status_code == 200
    assert len(sandbox.token_requests) == 1
    sandbox.revoke_tokens()
    assert hook.run("/message").json()["path"] == "/message"
    assert [exchange.status for exchange in sandbox.api_requests] == [200, 200, 200, 401, 200]
    assert len(sandbox.token_requests) == 2
