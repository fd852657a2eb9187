"""Proxies that the environment names are found as by requests, and where it names none nothing is looked for."""

from __future__ import annotations

import os
import random
import sys
import urllib.request
from typing import Any

import pytest
import requests

from gopacs_session import GopacsSession

NAMES = (
    "http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "Https_Proxy", "no_proxy", "NO_PROXY", "all_proxy",
    "ALL_PROXY", "REQUEST_METHOD", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "X_PROXY", "_proxy", "PROXY", "OTHER",
)  # fmt: skip
VALUES = ("", "http://proxy.example:1", "*", "example.org", "/ca.pem")
GIVEN: list[dict[str, str]] = [{}, {"https": "http://given.example:1"}, {"no_proxy": "*"}]
URL = "https://api.example.org/x"


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.setenv("OTHER", "")


def settings(session: requests.Session, proxies: dict[str, str], verify: Any = None) -> Any:
    return session.merge_environment_settings(URL, dict(proxies), None, verify, None)


@pytest.mark.usefixtures("bare_environment")
def test_the_settings_are_those_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the variables, in any case of letters, set, changed and removed while the session lives."""
    chance = random.Random(1)  # noqa: S311 - no cryptography
    ours, plain = GopacsSession("trader", "s3cret"), requests.Session()
    found = set()
    for _ in range(3000):
        name = chance.choice(NAMES)
        if chance.random() < 0.8:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, chance.choice(VALUES))
        given, verify = chance.choice(GIVEN), chance.choice([None, True, False, "/other.pem"])
        expected = settings(plain, given, verify)
        assert settings(ours, given, verify) == expected, dict(os.environ)
        found.add(bool(expected["proxies"]))
    assert found == {True, False}


@pytest.mark.parametrize("name", ["requests.utils.getproxies", "requests.sessions.get_environ_proxies"])
@pytest.mark.usefixtures("bare_environment")
def test_proxies_from_elsewhere_are_found(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Those in the settings of Windows or macOS, and those of whoever replaced what requests looks with."""
    elsewhere = {"https": "http://settings.example:1"}

    def lookup(url: str = URL, no_proxy: str | None = None) -> dict[str, str]:
        return elsewhere if url == URL else {}

    session = GopacsSession("trader", "s3cret")
    assert settings(session, {})["proxies"] == {}
    monkeypatch.setattr(name, lookup)
    assert settings(session, {})["proxies"] == elsewhere


@pytest.mark.usefixtures("bare_environment")
def test_an_environment_of_another_kind_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain dict in the place of os.environ, say."""
    session = GopacsSession("trader", "s3cret")
    monkeypatch.setattr(os, "environ", {"https_proxy": "http://proxy.example:1"})
    assert settings(session, {})["proxies"] == {"https": "http://proxy.example:1"}


@pytest.mark.skipif(
    requests.utils.getproxies is not urllib.request.getproxies_environment,  # type: ignore[attr-defined]
    reason="proxies are in the system's settings here",
)
@pytest.mark.usefixtures("bare_environment")
@pytest.mark.parametrize("name, looks", [("SERVICE_PORT", False), ("HTTPS_PROXY", True)])
def test_an_environment_without_proxies_is_not_looked_through(
    monkeypatch: pytest.MonkeyPatch, name: str, looks: bool
) -> None:
    """Pods have hundreds of variables, and requests goes through them twice for each request."""
    session = GopacsSession("trader", "s3cret")
    monkeypatch.setenv(name, "http://proxy.example:1")
    entered = set()
    sys.setprofile(lambda frame, event, _: entered.add(frame.f_code))
    try:
        settings(session, {})
    finally:
        sys.setprofile(None)
    assert (urllib.request.getproxies_environment.__code__ in entered) == looks
