"""Whole processes: their time from start to end, and their memory."""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import requests
from contenders import HTTPX, OURS, PARENT, PLAIN, Service, gopacs_session, plain_requests
from load import Figures, in_turns, seconds
from requests.adapters import HTTPAdapter
from servers import TOKEN, Nginx
from urllib3 import HTTPResponse

# -- time ------------------------------------------------------------------------------------------------------------

SETTINGS = """
import os
form = {"grant_type": "client_credentials", "client_id": os.environ["GOPACS_CLIENT_ID"],
        "client_secret": os.environ["GOPACS_CLIENT_SECRET"]}
token_url, api_url = os.environ["GOPACS_TOKEN_URL"], os.environ["API_URL"]
"""
TOKEN_BY_HAND = """
import requests
print(requests.post(token_url, data=form).json()["access_token"])
"""
FIRST_REQUEST = {
    OURS: """
from gopacs_session import GopacsSession
GopacsSession.from_env().get(api_url).raise_for_status()
""",
    PLAIN: """
import requests
session = requests.Session()
token = session.post(token_url, data=form).json()["access_token"]
session.get(api_url, headers={"Authorization": f"Bearer {token}"}).raise_for_status()
""",
    HTTPX: """
import httpx
client = httpx.Client()
token = client.post(token_url, data=form).json()["access_token"]
client.get(api_url, headers={"Authorization": f"Bearer {token}"}).raise_for_status()
""",
}


def imports(nginx: Nginx, rounds: int) -> Figures:
    """Seconds to start Python and import a module."""
    modules = {OURS: "gopacs_session", PLAIN: "requests", PARENT: "requests_oauthlib"}
    return _run({name: _python(f"import {module}") for name, module in modules.items()}, nginx, rounds)


def token_command(nginx: Nginx, rounds: int) -> Figures:
    """Seconds of ``gopacs-session token`` from start to end, and of a bare script that does the same."""
    command = str(Path(sys.executable).with_name("gopacs-session"))
    return _run({OURS: [command, "token"], PLAIN: _python(SETTINGS + TOKEN_BY_HAND)}, nginx, rounds)


def first_request(nginx: Nginx, rounds: int) -> Figures:
    """Seconds of a program that gets a token, makes a request to the other host, and ends."""
    return _run({name: _python(SETTINGS + script) for name, script in FIRST_REQUEST.items()}, nginx, rounds)


def _python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def _run(commands: dict[str, list[str]], nginx: Nginx, rounds: int) -> Figures:
    environ = {
        **os.environ,
        "GOPACS_CLIENT_ID": nginx.service.client_id,
        "GOPACS_CLIENT_SECRET": nginx.service.client_secret,
        "GOPACS_TOKEN_URL": nginx.service.token_url,
        "GOPACS_API_DOMAINS": "localhost",
        "API_URL": nginx.service.api_url,
    }

    def measure(command: list[str]) -> float:
        return seconds(lambda: subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL))

    in_turns(commands, 1, measure)  # Compiles what is not compiled yet, and brings it into the page cache.
    return in_turns(commands, rounds, measure)


# -- memory ----------------------------------------------------------------------------------------------------------

MAKERS = {OURS: gopacs_session, PLAIN: plain_requests}


def memory(nginx: Nginx, rounds: int, sessions: int, make: Callable[[str, Service], requests.Session]) -> Figures:
    """Kilobytes of each of so many sessions.

    Each kind has a process of its own: memory that another has freed would be used again.
    """
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:

        def measure(name: str) -> float:
            return pool.apply(_kilobytes, (make, name, nginx.service, sessions))

        return in_turns({name: name for name in MAKERS}, rounds, measure)


def unconnected(name: str, service: Service) -> requests.Session:
    """A session with a token, an answered request, and no network."""

    def send(self: HTTPAdapter, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        return self.build_response(request, HTTPResponse(io.BytesIO(TOKEN.encode()), status=200, preload_content=False))

    with mock.patch.object(HTTPAdapter, "send", send):
        return connected(name, service)


def connected(name: str, service: Service) -> requests.Session:
    """A session with a token and an open connection to the API."""
    contender = MAKERS[name](service)
    contender.get(service.api_url)
    return contender.client


def _kilobytes(make: Callable[[str, Service], requests.Session], name: str, service: Service, sessions: int) -> float:
    service = replace(service, known=service.token())
    make(name, service).close()  # What is imported late or cached is no session's.
    before = _resident()
    kept = [make(name, service) for _ in range(sessions)]
    return (_resident() - before) / len(kept)


def _resident() -> float:
    """Kilobytes of this process in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024
