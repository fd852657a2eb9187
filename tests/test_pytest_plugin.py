"""The fixtures for our users' tests, in test runs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest
import trustme  # noqa: F401 - cryptography must not be loaded anew by each test run in this process

from gopacs_session import environment_variables

pytest_plugins = ["pytester"]

# As in the documentation.
THREE_LINES_EACH = """
def test_renewal(gopacs_sandbox, gopacs_session):
    gopacs_session.token = {"access_token": "an old one", "expires_at": 0}
    assert gopacs_session.get(gopacs_sandbox.api_url).ok
    assert len(gopacs_sandbox.token_requests) == 1


def test_revocation(gopacs_sandbox, gopacs_session):
    gopacs_session.fetch_token()
    gopacs_sandbox.revoke_tokens()
    assert gopacs_session.get(gopacs_sandbox.api_url).ok


def test_outage(gopacs_sandbox, gopacs_session):
    gopacs_sandbox.answer_next_token_requests(1, 503)
    assert gopacs_session.get(gopacs_sandbox.api_url).ok
    assert [exchange.status for exchange in gopacs_sandbox.token_requests] == [503, 200]
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A folder for a user's tests; warnings are errors there, too."""
    # Loaded by name, so that these tests run on an installed package and on a checkout alike.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\naddopts = -p gopacs_session.pytest_plugin\nfilterwarnings = error")
    return pytester


def passes(run: pytest.Pytester, tests: str, passed: int = 1) -> None:
    run.makepyfile(tests)
    run.runpytest_inprocess().assert_outcomes(passed=passed)


class TestFixtures:
    def test_three_lines_each(self, run: pytest.Pytester) -> None:
        """A test for renewal, for revocation and for an outage takes three lines each."""
        passes(run, THREE_LINES_EACH, passed=3)

    def test_from_env(self, run: pytest.Pytester) -> None:
        """The code under test can make its own session from the environment, and trusts the sandbox."""
        passes(
            run,
            """
            from gopacs_session import GopacsSession

            def test_own_session(gopacs_sandbox):
                with GopacsSession.from_env() as session:
                    assert session.get(f"{gopacs_sandbox.api_url}/messages").ok
            """,
        )

    def test_settings_of_the_user(self, run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        """Settings that the user has for production and for a proxy do not get in the way."""
        monkeypatch.setenv("GOPACS_ENVIRONMENT", "production")
        monkeypatch.setenv("GOPACS_CLIENT_SECRET_FILE", "/nowhere")
        monkeypatch.setenv("HTTPS_PROXY", "http://localhost:9")
        monkeypatch.setenv("no_proxy", "intranet.example")
        self.test_from_env(run)
        assert os.environ["no_proxy"] == "intranet.example"

    def test_undone(self, run: pytest.Pytester) -> None:
        """After the test the environment is what it was."""
        before = dict(os.environ)
        self.test_from_env(run)
        changed = {name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)}
        assert changed.isdisjoint({*environment_variables.NAMES, "REQUESTS_CA_BUNDLE", "NO_PROXY", "no_proxy"})

    def test_a_sandbox_for_each_test(self, run: pytest.Pytester) -> None:
        """No test sees what another did."""
        run.makepyfile(
            """
            import pytest

            @pytest.mark.parametrize("number", [1, 2])
            def test_alone(number, gopacs_sandbox, gopacs_session):
                gopacs_session.get(gopacs_sandbox.api_url)
                assert len(gopacs_sandbox.token_requests) == 1
            """
        )
        run.runpytest_inprocess().assert_outcomes(passed=2)

    def test_without_trustme(self, run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the extra, a test that asks for a fixture says what to install; the others run."""
        monkeypatch.setitem(sys.modules, "trustme", None)
        run.makepyfile("def test_plain(): pass\ndef test_asking(gopacs_sandbox): pass")
        result = run.runpytest_inprocess()
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(["*pip install 'gopacs_session?sandbox?'*"])


class TestInert:
    def test_imports(self) -> None:
        """Loading the plugin does not load the sandbox, nor what it needs."""
        code = "import sys, gopacs_session.pytest_plugin; print({'gopacs_session.sandbox', 'trustme'} & {*sys.modules})"
        assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"

    def test_not_asked(self, run: pytest.Pytester) -> None:
        """Tests that do not ask for a fixture see nothing of it."""
        passes(run, "import os\ndef test_plain(): assert 'GOPACS_CLIENT_ID' not in os.environ")

    def test_listed(self, run: pytest.Pytester) -> None:
        """`pytest --fixtures` tells what they are."""
        result = run.runpytest_inprocess("--fixtures", "-p", "no:cacheprovider")
        result.stdout.fnmatch_lines(["gopacs_sandbox*", "*A running sandbox*", "gopacs_session*", "*A session on*"])

    def test_entry_point(self) -> None:
        """The installed package announces the plugin to pytest."""
        plugins = {point.name: point.value for point in entry_points(group="pytest11")}
        if not entry_points(group="console_scripts", name="gopacs-session"):
            pytest.skip("gopacs_session is not installed here, only on the path")
        assert plugins["gopacs_session"] == "gopacs_session.pytest_plugin"
