"""niquests, whose urllib3-future takes urllib3's place for requests, too.

Its tox environment also runs what the default suite has of forks, threads and refusals.
"""

from __future__ import annotations

import os
from importlib.metadata import version

import niquests
import urllib3

from gopacs_session.sandbox import Sandbox


def test_beside_niquests(sandbox: Sandbox) -> None:
    """Both send in one process and in a fork of it, and niquests can bear the session's token."""
    assert urllib3.__version__ == version("urllib3-future")
    with sandbox.session() as session, niquests.Session() as other:

        def call() -> list[int | None]:
            own = session.get(sandbox.api_url).status_code
            return [own, other.get(sandbox.api_url, headers=session.auth_header, verify=sandbox.ca_file).status_code]

        assert call() == [200, 200]
        child = os.fork()
        if child == 0:
            os._exit(session.get(sandbox.api_url).status_code != 200)
        assert call() == [200, 200]
        assert os.waitpid(child, 0) == (child, 0)
    assert len(sandbox.token_requests) == 1
