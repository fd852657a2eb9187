"""Whole processes: to import a library, and to get a token on the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from load import Figures, in_turns, seconds
from server import Remote

BARE = """
import os, requests
form = {"grant_type": "client_credentials", "client_id": os.environ["GOPACS_CLIENT_ID"],
        "client_secret": os.environ["GOPACS_CLIENT_SECRET"]}
print(requests.post(os.environ["GOPACS_TOKEN_URL"], data=form).json()["access_token"])
"""


def imports(remote: Remote, rounds: int) -> Figures:
    """Seconds to start Python and import a module."""
    modules = "requests", "requests_oauthlib", "gopacs_session"
    return _run({name: [sys.executable, "-c", f"import {name}"] for name in modules}, remote, rounds)


def token_command(remote: Remote, rounds: int) -> Figures:
    """Seconds of ``gopacs-session token`` from start to end, and of a bare script that does the same."""
    command = str(Path(sys.executable).with_name("gopacs-session"))
    return _run({"requests.post": [sys.executable, "-c", BARE], "gopacs_session": [command, "token"]}, remote, rounds)


def _run(commands: dict[str, list[str]], remote: Remote, rounds: int) -> Figures:
    environ = {
        **os.environ,
        "GOPACS_CLIENT_ID": remote.service.client_id,
        "GOPACS_CLIENT_SECRET": remote.service.client_secret,
        "GOPACS_TOKEN_URL": remote.service.token_url,
        "GOPACS_API_DOMAINS": "localhost",
    }

    def measure(command: list[str]) -> float:
        return seconds(lambda: subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL))

    in_turns(commands, 1, measure)  # Compiles what is not compiled yet, and brings it into the page cache.
    return in_turns(commands, rounds, measure)
