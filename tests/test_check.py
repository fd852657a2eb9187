"""`gopacs-session check`: what it finds on the way from the configuration to the token, and what it advises."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import certifi
import pytest
from servers import Authority, RawServer, http, proxying, raw

from gopacs_session.cli import main
from gopacs_session.sandbox import Sandbox

PASSED = ["configuration", "network", "name", "TLS", "clock", "credentials", "client"]


@pytest.fixture
def found(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run it; the exit code, the steps by their names, and the last step."""

    def run(*words: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
        code = main(["check", "--json", *words])
        report = json.loads(capsys.readouterr().out)
        assert report["passed"] is (code == 0)
        return code, {step["name"]: step for step in report["steps"]}, report["steps"][-1]

    return run


def test_all_is_well(configured: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step tells what it found: where settings are from, the certificate's issuer, the token's life and roles."""
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["check"]) == 0
    out = capsys.readouterr().out
    for words in (
        "client sandbox (from GOPACS_CLIENT_ID)",
        "secret (from GOPACS_CLIENT_SECRET)",
        "(from GOPACS_TOKEN_URL and GOPACS_API_DOMAINS)",
        "no proxy",
        f"CA bundle {configured.ca_file} (from GOPACS_CA_BUNDLE)",
        "localhost is 127.0.0.1",
        "TLSv1.3, certificate by trustme",
        "agrees with the server's",
        "the token lives 300 s",
        "sandbox, with roles market-messages, trading-company",
    ):
        assert words in out
    assert configured.client_secret not in out
    assert [exchange.method for exchange in configured.token_requests] == ["GET", "POST"]


def test_production_is_the_default_and_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unset environment means production, as the first lines say."""
    monkeypatch.setenv("GOPACS_CLIENT_ID", "x")
    monkeypatch.setenv("GOPACS_CLIENT_SECRET", "y")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert main(["check"]) == 6
    out = " ".join(capsys.readouterr().out.split())
    assert "environment production (from the default, since GOPACS_ENVIRONMENT is not set)" in out


BROKEN = [
    ({"GOPACS_CLIENT_ID": None}, 2, "configuration", "GOPACS_CLIENT_ID is not set", "--help"),
    ({"REQUESTS_CA_BUNDLE": __file__, "GOPACS_CA_BUNDLE": None}, 2, "network", "can't be loaded", "REQUESTS_CA_"),
    ({"GOPACS_TOKEN_URL": "https://nowhere.invalid/"}, 6, "name", "nowhere.invalid: ", "DNS"),
    ({"GOPACS_TOKEN_URL": "https://localhost:1/"}, 6, "TLS", "localhost:1: Connection refused", "Check that it runs"),
    ({"GOPACS_CA_BUNDLE": None}, 6, "TLS", "trusted: unable to get local issuer certificate", "GOPACS_CA_BUNDLE"),
    ({"GOPACS_CA_BUNDLE": None, "REQUESTS_CA_BUNDLE": None}, 6, "TLS", f"CA bundle {certifi.where()}", "a company's"),
    *(
        ({"HTTPS_PROXY": f"http://bob:{rest}"}, 2, "network", "percent-encoded", "")
        for rest in ("hid/den@h:1", "2/hid@h:1", "hid#x@h:1", "2#hid@h:1", "hid?x@h:1", "hid@h:99999", "hid@", "hid@/")
    ),
    ({"HTTPS_PROXY": "ftp://bob:hidden@h:1"}, 2, "network", "percent-encoded", ""),
    ({"HTTPS_PROXY": "http://u:hidden@127.0.0.1:1"}, 6, "TLS", "through http://127.0.0.1:1: Connection", "HTTPS_PROXY"),
    ({"GOPACS_CLIENT_SECRET": "wrong "}, 3, "credentials", "white space at its end", "Ask who administers"),
]


@pytest.mark.parametrize("changed, code, last, text, advice", BROKEN)
def test_what_is_wrong_ends_it_with_one_advice(
    configured: Sandbox,
    found: Any,
    monkeypatch: pytest.MonkeyPatch,
    changed: dict[str, str | None],
    code: int,
    last: str,
    text: str,
    advice: str,
) -> None:
    """The step that fails is the last, says what it met, and what to do; no password of a proxy is shown."""
    for name, value in changed.items():
        monkeypatch.setenv(name, value) if value is not None else monkeypatch.delenv(name, raising=False)
    got, steps, step = found()
    assert (got, list(steps)) == (code, PASSED[: PASSED.index(last) + 1])
    assert text in step["text"]
    assert advice in step["advice"]
    assert "hid" not in json.dumps(step)


ANSWERS = [
    ({"status": 401, "body": {"error": "invalid_client"}}, 3, "invalid_client", "Ask who administers"),
    ({"status": 400, "body": {"error": "unauthorized"}}, 6, "see error and description", "what this client may do"),
    ({"status": 404}, 6, "(404)", "Check that GOPACS_TOKEN_URL is a token endpoint"),
    ({"status": 200, "body": "<html>"}, 6, "without a usable bearer token", "Check that GOPACS_TOKEN_URL"),
    ({"status": 503}, 6, "answered 503", ""),
]


@pytest.mark.parametrize("answer, code, text, advice", ANSWERS)
def test_answers_of_the_authorization_server(
    configured: Sandbox, found: Any, pauses: list[float], answer: dict[str, Any], code: int, text: str, advice: str
) -> None:
    """Each refusal has the advice that fits it."""
    configured.answer_next_token_requests(1, 405)  # to the look at its certificate
    configured.answer_next_token_requests(9, **answer)
    got, _, step = found()
    assert (got, step["name"]) == (code, "credentials")
    assert text in step["text"]
    assert advice in step["advice"]


@pytest.mark.parametrize("status", ["407 Who are you", "403 No"])
def test_a_proxy_that_refuses(configured: Sandbox, found: Any, monkeypatch: pytest.MonkeyPatch, status: str) -> None:
    """A proxy is named without its password, with its status."""
    with proxying() as proxy:
        proxy.refusal = status
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:hidden@"))
        code, _, step = found()
    assert (code, step["name"]) == (6, "TLS")
    assert f"through {proxy.url}: the proxy answered {status[:3]}" in step["text"]
    assert "user and password" in step["advice"]
    assert "hidden" not in json.dumps(step)


def test_a_proxy_that_is_not_trusted_gets_no_password(
    configured: Sandbox, found: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A proxy over TLS whose certificate is a stranger's is told apart from the server, and sees no credentials."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    Authority(tmp_path).ca.issue_cert("127.0.0.1").configure_cert(context)
    with proxying(context) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//user:hidden@"))
        code, _, step = found()
    assert code == 6
    assert f"the certificate of the proxy {proxy.url} is not trusted" in step["text"]
    assert proxy.authorizations == []


def test_refused_by_gopacs(configured: Sandbox, found: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With GOPACS itself the advice says where in its user interface to look."""
    monkeypatch.setattr("gopacs_session.cli.check.PRESETS", (configured.environment,))
    configured.client_secret = "another"
    code, _, last = found()
    assert code == 3
    assert "Organisations > API Clients" in last["advice"]


NOW = datetime.now(timezone.utc)


@pytest.mark.parametrize(
    "host, days, text, advice",
    [
        ("localhost", (-2, -1), "certificate has expired", "Check this machine's clock"),
        ("localhost", (1, 2), "certificate is not yet valid", "Check this machine's clock"),
        ("other.example", (-2, 2), "not valid for 'localhost'", "Another server answers here"),
    ],
)
def test_a_certificate_that_is_not_trusted(
    raw_server: Any, authority: Authority, found: Any, host: str, days: tuple[int, int], text: str, advice: str
) -> None:
    """OpenSSL's words are told, and advice that fits them."""
    begin, end = (NOW + timedelta(days=number) for number in days)
    authority.ca.issue_cert(host, not_before=begin, not_after=end).configure_cert(raw_server("").context)
    code, _, last = found()
    assert (code, last["name"]) == (6, "TLS")
    assert text in last["text"]
    assert advice in last["advice"]


@pytest.fixture
def raw_server(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts a server that answers whatever it is asked with a token and this Date; the variables name it."""
    with ExitStack() as stack:

        def start(date: str) -> RawServer:
            token = b'{"access_token":"opaque","expires_in":60}'
            answer = raw(http(token, f"Content-Length: {len(token)}", f"Date: {date}", "Connection: close"))
            server = stack.enter_context(authority.server(answer))
            own = {"CLIENT_ID": "x", "CLIENT_SECRET": "y", "API_DOMAINS": "api", "CA_BUNDLE": authority.ca_file}
            for name, value in {**own, "TOKEN_URL": server.environment.token_url}.items():
                monkeypatch.setenv(f"GOPACS_{name}", value)
            return server

        yield start


@pytest.mark.parametrize(
    "date, code, passed, text",
    [
        ("Wed, 21 Oct 2015 07:28:00 GMT", 2, False, "s ahead of the server's"),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 2, False, "s behind the server's"),
        ("soon", 0, None, "no Date"),
    ],
)
def test_the_clock(raw_server: Any, found: Any, date: str, code: int, passed: bool | None, text: str) -> None:
    """A clock that is off is told, and the check goes on; so it does where the server's host is none of the API's."""
    raw_server(date)
    got, steps, last = found()
    assert (got, steps["clock"]["passed"], list(steps)) == (code, passed, PASSED)
    assert text in steps["clock"]["text"]
    assert last["text"] == "the token is opaque: it tells neither name nor roles"
