"""The fixtures for our users' tests, in test runs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

USERS_TESTS = """
import os, pytest
from gopacs_session import GopacsSession

BEFORE = dict(os.environ)
@pytest.mark.parametrize("time", [1, 2])
def test_a_session_of_the_programs_own(gopacs_sandbox, time):
    with GopacsSession.from_env() as session:
        assert session.get(gopacs_sandbox.api_url).ok
    assert len(gopacs_sandbox.token_requests) == 1
    assert os.environ["REQUESTS_CA_BUNDLE"] == "/nowhere"
    assert os.environ["no_proxy"] == "localhost,intranet.example"

def test_a_session_that_is_brought(gopacs_sandbox, gopacs_session):
    assert gopacs_session.get(gopacs_sandbox.api_url).ok

def test_without_a_fixture():
    assert {name for name, value in BEFORE.items() ^ os.environ.items()} == {"PYTEST_CURRENT_TEST"}
"""


def run(folder: Path, tests: str, *options: str) -> str:
    """What pytest says of a user's tests; warnings are errors there, too."""
    (folder / "test_users.py").write_text(tests)
    command = [sys.executable, "-m", "pytest", "-W", "error", "-p", "gopacs_session.pytest_plugin", *options]
    environ = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, text=True, stdout=-1, stderr=-2, cwd=folder, timeout=60, env=environ).stdout


def test_in_a_users_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fixtures lead a session there, whatever the user has set, which is as before afterwards."""
    monkeypatch.setenv("GOPACS_ENVIRONMENT", "production")
    monkeypatch.setenv("HTTPS_PROXY", "http://localhost:9")
    monkeypatch.setenv("no_proxy", "intranet.example")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    said = run(tmp_path, USERS_TESTS)
    assert "4 passed in" in said, said


def test_without_the_extra(tmp_path: Path) -> None:
    """Without the extra, a test that asks for a fixture says what to install; the others run."""
    (tmp_path / "conftest.py").write_text("import sys; sys.modules['trustme'] = None")
    said = run(tmp_path, "def test_plain(): pass\ndef test_asking(gopacs_sandbox): pass")
    assert "1 passed, 1 error in" in said, said
    assert "pip install 'gopacs_session[sandbox]'" in said


def test_listed(tmp_path: Path) -> None:
    """`pytest --fixtures` says what they are; the plugin alone loads neither the sandbox nor what it needs."""
    modules = "{'gopacs_session.sandbox', 'tornado'}"
    (tmp_path / "conftest.py").write_text(f"import sys; assert not {modules} & {{*sys.modules}}")
    said = run(tmp_path, "", "--fixtures")
    assert "A sandbox for one test" in said.partition("\ngopacs_sandbox")[2], said


def test_entry_point() -> None:
    """The installed package announces the plugin to pytest."""
    assert entry_points(group="pytest11")["gopacs_session"].value == "gopacs_session.pytest_plugin"
