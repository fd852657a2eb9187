"""Settings from environment variables: what is read, and what is said of each fault."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gopacs_session import (
    ACCEPTANCE,
    PRODUCTION,
    ConfigurationError,
    GopacsAuth,
    GopacsSession,
    TokenRequestError,
    environment_variables,
)
from gopacs_session.sandbox import Sandbox

ID, SECRET, FILE = "GOPACS_CLIENT_ID", "GOPACS_CLIENT_SECRET", "GOPACS_CLIENT_SECRET_FILE"
ENVIRONMENT, URL, DOMAINS, BUNDLE = "GOPACS_ENVIRONMENT", "GOPACS_TOKEN_URL", "GOPACS_API_DOMAINS", "GOPACS_CA_BUNDLE"
COMPLETE = {ID: "trader", SECRET: "s3cret", ENVIRONMENT: "acceptance"}
CUSTOM = {ID: "trader", SECRET: "s3cret", URL: "https://auth.example:8443/token", DOMAINS: "a.example, , b.example,"}


def test_a_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's id, secret and name of a preset, in any case, make a session, a subclass's if that is asked."""

    class Own(GopacsSession):
        pass

    for name, value in {**COMPLETE, ID: " trader ", ENVIRONMENT: " Acceptance\n"}.items():
        monkeypatch.setenv(name, value)
    session = Own.from_env()
    assert (type(session), session.client_id, session.environment) == (Own, "trader", ACCEPTANCE)
    assert GopacsAuth.from_env({ID: "trader", SECRET: "s3cret"}).environment == PRODUCTION


def test_another_environment_is_called_after_its_host(sandbox: Sandbox) -> None:
    """A token URL and API domains make an environment, with the CA bundle that is trusted for it alone."""
    environment = GopacsSession.from_env({**CUSTOM, BUNDLE: sandbox.ca_file}).environment
    assert (environment.name, environment.token_url) == ("auth.example:8443", CUSTOM[URL])
    assert (environment.api_domains, environment.ca_bundle) == (("a.example", "b.example"), sandbox.ca_file)


def test_relative_paths_stay_good(tmp_path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process may change its directory afterwards; a secret's file is read for each token request."""
    (tmp_path / "secret").write_text(f"\ufeff{sandbox.client_secret}\r\n", encoding="utf-8")
    os.symlink(sandbox.ca_file, tmp_path / "ca.pem")
    monkeypatch.chdir(tmp_path)
    own = {URL: sandbox.environment.token_url, DOMAINS: "localhost"}
    with GopacsSession.from_env({ID: "sandbox", FILE: "secret", BUNDLE: "ca.pem", **own}) as session:
        monkeypatch.chdir(os.sep)
        session.trust_env = False
        assert session.get(sandbox.api_url).ok
        sandbox.client_secret = "rotated"
        (tmp_path / "secret").write_text("rotated")
        session.fetch_token()
        (tmp_path / "secret").unlink()
        with pytest.raises(TokenRequestError, match="can't be read: No such file"):
            session.fetch_token()
    assert len(sandbox.token_requests) == 2


def test_what_is_given_is_not_looked_for() -> None:
    """Arguments win over variables, which need not be there; sources tell where the others are from."""
    session = GopacsSession.from_env({ID: "trader"}, client_secret="s3cret", environment="acceptance", timeout=5)
    assert (session.client_id, session.environment, session.timeout) == ("trader", ACCEPTANCE, 5)
    with pytest.raises(TypeError, match="enviroment"):
        GopacsSession.from_env(COMPLETE, enviroment="acceptance")
    arguments, sources = environment_variables.read({**CUSTOM, SECRET: " s3cret\n"}, {"client_id": "x"})
    assert sources == {"client_secret": SECRET, "environment": f"{URL} and {DOMAINS}"}
    assert arguments["client_secret"] == " s3cret\n"  # It may begin with a blank.


FAULTS = [
    ({}, [f"{ID} is not set.", f"{SECRET} is not set, and neither is {FILE}."]),
    ({**COMPLETE, ID: " ", SECRET: "\n", ENVIRONMENT: ""}, [f"{n} is empty." for n in (ID, SECRET, ENVIRONMENT)]),
    ({**COMPLETE, FILE: "/dev/null"}, [f"{SECRET} and {FILE} are both set", "/dev/null, which is empty."]),
    ({**COMPLETE, DOMAINS: "a.example"}, [f"{ENVIRONMENT} goes without"]),
    ({ID: "x", SECRET: "y", URL: CUSTOM[URL]}, [f"{DOMAINS} is not set"]),
    ({ID: "x", SECRET: "y", DOMAINS: "a.example"}, [f"{URL} is not set"]),
    ({**COMPLETE, ENVIRONMENT: "staging"}, [f"{ENVIRONMENT}: Unknown environment"]),
    ({**CUSTOM, URL: "http://auth.example/"}, ["token_url of an Environment must be an https:// URL"]),
    ({**CUSTOM, DOMAINS: "https://a.example"}, ["api_domains of an Environment must be"]),
    ({**CUSTOM, DOMAINS: "gopacs-services,eu"}, [f"{DOMAINS} has a name without a dot: is there a comma for a dot?"]),
    ({ID: "x", FILE: "/dev/zero", ENVIRONMENT: "acceptance"}, ["/dev/zero, which is larger than 65536 bytes."]),
    ({ID: "x", FILE: "/", ENVIRONMENT: "acceptance"}, ["/, which can't be read: Is a directory."]),
    ({ID: "x", FILE: "s3cret+in/the_wrong=place"}, [f"{FILE} names a file, which can't be read"]),
    ({**COMPLETE, BUNDLE: "/nowhere/ca.pem"}, [f"{BUNDLE} names /nowhere/ca.pem, which fails: No such file"]),
    ({**COMPLETE, BUNDLE: __file__}, [f"{BUNDLE} names {__file__}, which holds no certificate (PEM)."]),
    ({ID: "x", "GOPACS_SECRET": "y"}, [f"{SECRET} is not set", f"GOPACS_SECRET is not known: did you mean {SECRET}?"]),
    ({SECRET: "y", "GOPACS_XYZZY": "5"}, [f"{ID} is not set.", "GOPACS_XYZZY is not known."]),
    ({**COMPLETE, "GOPACS_ENVIROMENT": "production"}, [f"GOPACS_ENVIROMENT is not known: did you mean {ENVIRONMENT}?"]),
]


@pytest.mark.parametrize("environ, faults", FAULTS)
def test_every_fault_is_named_at_once(environ: dict[str, str], faults: list[str]) -> None:
    """What is missing, contradictory, malformed, misspelt or unreadable is told, each in a line, without a secret."""
    with pytest.raises(ConfigurationError) as error:
        GopacsSession.from_env(environ)
    first, *lines = str(error.value).splitlines()
    assert first == "The environment variables do not configure a session:"
    assert len(lines) == len(faults)
    for fault, line in zip(faults, lines, strict=True):
        assert fault in line
    assert "s3cret" not in str(error.value)


def test_variables_of_ones_own_and_local_networks_are_no_fault(tmp_path: Path) -> None:
    """Nor is another GOPACS_ variable, a host without a dot beside a token endpoint without one, or a CA directory."""
    local = {**CUSTOM, URL: "https://keycloak:8443/token", DOMAINS: "api, localhost", "GOPACS_POLL_SECONDS": "5"}
    assert GopacsSession.from_env(local).environment.api_domains == ("api", "localhost")
    for host in "localhost", "[::1]":
        assert GopacsSession.from_env({**CUSTOM, DOMAINS: host}).environment.covers(f"https://{host}/")
    assert GopacsSession.from_env({**COMPLETE, BUNDLE: str(tmp_path)}).environment.ca_bundle == str(tmp_path)


@pytest.mark.parametrize("content, fault", [(b"s3cret\xff", "is not UTF-8 text"), (b"\xef\xbb\xbf \n", "is empty")])
def test_a_file_without_a_secret(tmp_path: Path, content: bytes, fault: str) -> None:
    """A file of blanks, or of bytes that are not UTF-8, is an error that holds none of them."""
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigurationError, match=fault) as error:
        GopacsSession.from_env({ID: "x", FILE: str(tmp_path / "secret"), ENVIRONMENT: "acceptance"})
    assert error.value.__context__ is None
    assert "s3cret" not in str(error.value)
