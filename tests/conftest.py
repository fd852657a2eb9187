from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Authority
from support import Clock

import gopacs_session.clock
from gopacs_session import GopacsSession, environment_variables
from gopacs_session.sandbox import Sandbox
from gopacs_session.sandbox.controls import variables

pytest.register_assert_rewrite("contract")

# A shell that runs the tests in the background has SIGINT ignored, in the processes that they start, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

OF_REQUESTS = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's proxies, CA bundles, netrc and GOPACS settings touch no test that does not set them itself."""
    for name in OF_REQUESTS:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in environment_variables.NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def configured(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox that the environment variables name."""
    monkeypatch.setenv("GOPACS_CLIENT_SECRET", sandbox.client_secret)
    for name, value in variables(sandbox.client_id, sandbox.environment).items():
        monkeypatch.setenv(name, value)
    return sandbox


@pytest.fixture
def session(sandbox: Sandbox) -> Iterator[GopacsSession]:
    with sandbox.session() as session:
        yield session


@pytest.fixture
def revoked(sandbox: Sandbox, session: GopacsSession) -> GopacsSession:
    """A session whose token has been revoked unbeknown to it."""
    session.get(f"{sandbox.api_url}/warm")
    sandbox.revoke_tokens()
    sandbox.api_requests.clear()
    return session


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(gopacs_session.clock, "monotonic", lambda: clock.monotonic)
    monkeypatch.setattr(gopacs_session.clock, "time", lambda: clock.wall)
    return clock


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between tries at the token endpoint, in seconds, which pass at once."""
    pauses: list[float] = []
    monkeypatch.setattr(gopacs_session.clock, "sleep", pauses.append)
    return pauses


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads switch as often as the interpreter lets them, which brings races out."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
