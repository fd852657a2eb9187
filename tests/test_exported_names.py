"""What `import gopacs_session` gives, and what it leaves alone."""

from __future__ import annotations

import re
import subprocess
import sys
from types import ModuleType

import gopacs_session

PUBLIC_NAMES = {
    *("GopacsAuth", "GopacsSession", "ACCEPTANCE", "PRODUCTION", "Environment"),
    *("GopacsSessionError", "ConfigurationError", "InsecureURLError", "WrongEnvironmentError"),
    *("TokenRequestError", "AuthorizationServerError", "InvalidClientError"),
}


def test_the_exported_names() -> None:
    """The package exports exactly its public names, to each of which help() has something to say, and its version."""
    names = {n for n, value in vars(gopacs_session).items() if n[0] != "_" and not isinstance(value, ModuleType)}
    assert names == set(gopacs_session.__all__) == PUBLIC_NAMES
    assert all(getattr(gopacs_session, name).__doc__ for name in names)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", gopacs_session.__version__)


def test_importing_the_package() -> None:
    """It is silent and leaves the program's logging alone; nobody pays for the sandbox, the command or the plugins."""
    code = "import gopacs_session, logging, sys; assert not logging.root.handlers; print('loaded:', *sys.modules)"
    command = [sys.executable, "-W", "error", "-c", code]
    process = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (process.stderr, process.stdout.partition("loaded:")[0]) == ("", "")
    loaded = set(process.stdout.split())
    assert "gopacs_session.session" in loaded
    apart = {f"gopacs_session.{name}" for name in ("sandbox", "cli", "pytest_plugin", "httpie_plugin")}
    assert loaded.isdisjoint({*apart, "trustme", "pytest", "httpie"})
