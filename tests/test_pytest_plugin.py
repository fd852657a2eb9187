"""The fixtures for our users' tests, in test runs of their own."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

USERS_TESTS = '''
import os

import pytest

from gopacs_session import GopacsSession

BEFORE = dict(os.environ)


@pytest.mark.parametrize("time", [1, 2])
def test_a_session_of_the_programs_own(gopacs_sandbox, time):
    """It trusts the sandbox, and no test sees what another did; what else is trusted and reached stays as it was."""
    with GopacsSession.from_env() as session:
        assert session.get(gopacs_sandbox.api_url).ok
    assert len(gopacs_sandbox.token_requests) == 1
    assert os.environ["REQUESTS_CA_BUNDLE"] == "/nowhere"
    assert os.environ["no_proxy"] == "localhost,intranet.example"


def test_a_session_that_is_brought(gopacs_sandbox, gopacs_session):
    assert gopacs_session.get(gopacs_sandbox.api_url).ok


def test_without_a_fixture():
    """The user's settings are what they were."""
    assert {name for name, value in BEFORE.items() ^ os.environ.items()} == {"PYTEST_CURRENT_TEST"}
'''

USERS_SETTINGS = {
    "GOPACS_ENVIRONMENT": "production",
    "GOPACS_CLIENT_SECRET_FILE": "/nowhere",
    "HTTPS_PROXY": "http://localhost:9",
    "no_proxy": "intranet.example",
    "REQUESTS_CA_BUNDLE": "/nowhere",
}


def run(folder: Path, *options: str) -> str:
    """What pytest says of a user's tests; warnings are errors there, too."""
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error")
    # The plugin is loaded by name, so that these tests run on an installed package and on a checkout alike.
    command = [sys.executable, "-m", "pytest", "-p", "gopacs_session.pytest_plugin", *options]
    return subprocess.run(command, text=True, stdout=-1, stderr=-2, cwd=folder, timeout=60).stdout


@pytest.fixture(autouse=True)
def no_other_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def test_in_a_users_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixtures lead a session there, or one of the program's own, whatever the user has set."""
    (tmp_path / "test_users.py").write_text(USERS_TESTS)
    for name, value in USERS_SETTINGS.items():
        monkeypatch.setenv(name, value)
    said = run(tmp_path)
    assert "4 passed in" in said, said


def test_without_trustme(tmp_path: Path) -> None:
    """Without the extra, a test that asks for a fixture says what to install; the others run."""
    (tmp_path / "conftest.py").write_text("import sys; sys.modules['trustme'] = None")
    (tmp_path / "test_users.py").write_text("def test_plain(): pass\ndef test_asking(gopacs_sandbox): pass")
    said = run(tmp_path)
    assert "1 passed, 1 error in" in said, said
    assert "pip install 'gopacs_session[sandbox]'" in said


def test_listed(tmp_path: Path) -> None:
    """`pytest --fixtures` tells what they are; to load the plugin loads neither the sandbox nor what it needs."""
    (tmp_path / "conftest.py").write_text("import sys; print({'gopacs_session.sandbox', 'trustme'} & {*sys.modules})")
    said = run(tmp_path, "--fixtures")
    assert "A running sandbox, for one test" in said.partition("\ngopacs_sandbox")[2], said
    assert "A session on the test's sandbox" in said.partition("\ngopacs_session")[2], said
    assert "set()\n" in said


def test_entry_point() -> None:
    """The installed package announces the plugin to pytest."""
    plugins = {point.name: point.value for point in entry_points(group="pytest11")}
    if not entry_points(group="console_scripts", name="gopacs-session"):
        pytest.skip("gopacs_session is not installed here, only on the path")
    assert plugins["gopacs_session"] == "gopacs_session.pytest_plugin"
