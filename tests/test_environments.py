"""Which URL belongs to which environment, and what a session does with a URL that belongs to another."""

from __future__ import annotations

from contextlib import suppress
from itertools import product
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3
from support import Offline

from gopacs_session import ACCEPTANCE, PRODUCTION, Environment, GopacsSession
from gopacs_session.exceptions import ConfigurationError, InsecureURLError, WrongEnvironmentError

OF_PRODUCTION = [
    *("gopacs-services.eu", "api.gopacs-services.eu", "API.Gopacs-Services.EU", "api.gopacs-services.eu.:8443"),
    *("a.b.under_score.gopacs-services.eu", "acc.api.gopacs-services.eu", "evilacc.gopacs-services.eu"),
    *("user:password@api.gopacs-services.eu", "evil.example@x@api.gopacs-services.eu", "api.gopacs-services.eu:"),
]
OF_ACCEPTANCE = ["acc.gopacs-services.eu", "a.ACC.gopacs-services.eu:443", "gopacs-services.eu@acc.gopacs-services.eu"]
FOREIGN = [
    *("", "@", "example.org", "eu", "services.eu", "gopacs-services", "gopacs-services.eu.evil.example", "127.0.0.1"),
    *("evilgopacs-services.eu", "evil-gopacs-services.eu", "gopacs-services.eu..", "gopacs-services.com", "[::1]"),
    # User-info: what stands before the last "@" is no host.
    *("gopacs-services.eu@evil.example", "a@gopacs-services.eu@evil.example", "gopacs-services.eu%40evil.example"),
    # The host ends where the path, the query or the fragment begins.
    *("evil.example/@gopacs-services.eu", "evil.example?.gopacs-services.eu", "evil.example#@gopacs-services.eu"),
    # A backslash is a slash to some parsers, and a character of the user-info to others.
    *("evil.example\\@gopacs-services.eu", "evil.example\\.gopacs-services.eu", "gopacs-services.eu\\@evil.example"),
    # Tabs, newlines, spaces, NUL: dropped by some parsers.
    *("gopacs-services\t.eu", "gopacs-services.eu\n", " gopacs-services.eu", "evil.example\x00.gopacs-services.eu"),
    # Percent-encoded hosts, and names in other alphabets, which some parsers turn into ours.
    *("gopacs-services%2Eeu", "evil.example%2F.gopacs-services.eu", "g\u043epacs-services.eu"),
    *("gopacs-services\u3002eu", "gopacs-services.eu\u200b", "evil.example\uff0f.gopacs-services.eu"),
    # Ports that are none, and brackets.
    *("gopacs-services.eu:443.evil.example", "gopacs-services.eu:443:443", "[gopacs-services.eu]"),
]
NO_HTTPS = ["gopacs-services.eu", "//gopacs-services.eu/", "https:/gopacs-services.eu/", "ftp://gopacs-services.eu"]
NO_HTTPS += ["https:\\\\gopacs-services.eu/", " https://gopacs-services.eu/", "ht\ntps://gopacs-services.eu/"]


@pytest.mark.parametrize("authority", [*OF_PRODUCTION, *OF_ACCEPTANCE, *FOREIGN], ids=ascii)
@pytest.mark.parametrize("rest", ["", "/path?query\n#fragment", "?@gopacs-services.eu"])
def test_each_host_belongs_to_one_preset_or_to_none(authority: str, rest: str) -> None:
    """A token goes to the hosts of its own preset over https, and to no text that a parser may read otherwise."""
    url = f"https://{authority}{rest}"
    covered = [preset for preset in (PRODUCTION, ACCEPTANCE) if preset.covers(url)]
    owner = {**dict.fromkeys(OF_PRODUCTION, PRODUCTION), **dict.fromkeys(OF_ACCEPTANCE, ACCEPTANCE)}
    assert covered == ([owner[authority]] if authority in owner else [])
    assert not any(preset.covers(f"http://{authority}{rest}") for preset in (PRODUCTION, ACCEPTANCE))


@pytest.mark.parametrize("text", NO_HTTPS, ids=ascii)
def test_what_is_no_https_url_gets_no_token(text: str) -> None:
    """Relative, malformed and other URLs belong to nobody."""
    assert not PRODUCTION.covers(text)


PARTS = ["gopacs-services.eu", "evil.example", *"@@:/?#\\%.[] \t\n\x00", "%2e", "443"]


def test_what_is_covered_is_where_requests_would_go() -> None:
    """A token goes only where urllib3 and urllib find a host of ours, or nowhere if requests refuses the URL."""
    urls = (f"https://{''.join(parts)}" for parts in product(["", *PARTS], repeat=4))
    for url in filter(PRODUCTION.covers, urls):
        with suppress(requests.exceptions.InvalidURL):
            sent = str(requests.Request("GET", url).prepare().url)
            for host in urlsplit(sent).hostname, urllib3.util.parse_url(sent).host:
                assert str(host).removesuffix(".").endswith("gopacs-services.eu")


OWN = [
    (("gopacs-services", "eu"), "https://attacker.eu/", False),  # a comma for a dot
    (("localhost",), "https://localhost:8443/", True),
    (("localhost",), "https://evil.localhost/", False),
    (("127.0.0.1",), "https://127.0.0.1/", True),
    (("127.0.0.1",), "https://evil.127.0.0.1/", False),
    (("[::1]",), "https://[::1]:8443/", True),
    (("Example.ORG.",), "https://api.example.org/", True),
    (("sub.acc.gopacs-services.eu",), "https://api.sub.acc.gopacs-services.eu/", True),
    (("gopacs-services.eu",), "https://api.acc.gopacs-services.eu/", False),
]


@pytest.mark.parametrize("domains, url, covered", OWN)
def test_own_domains(domains: tuple[str, ...], url: str, covered: bool) -> None:
    """A name stands for itself and all below it; without a dot, and as an address, for itself alone."""
    assert Environment("own", "https://auth.example/token", domains).covers(url) is covered


BAD: dict[str, list[Any]] = {
    "name": ["", " ", None],
    "token_url": ["http://auth.example/", "auth.example", "https://u:p@auth.example", "", None],
    "api_domains": [(), "example", None, ("",), (None,), ("a b",), ("*.a",), ("a,b",), ("a/b",), ("::1",)],
    "ca_bundle": ["", " ", 1],
}


@pytest.mark.parametrize("field, value", [(field, value) for field, values in BAD.items() for value in values])
def test_a_malformed_field_is_refused(field: str, value: Any) -> None:
    """An environment says which of its fields is wrong, and does not quote it."""
    with pytest.raises(ConfigurationError, match=field) as error:
        Environment(**{"name": "own", "token_url": "https://a.example/", "api_domains": ("example",), field: value})
    assert not value or repr(value) not in str(error.value)


@pytest.mark.parametrize("name, preset", [("production", PRODUCTION), (" Acceptance ", ACCEPTANCE), (PRODUCTION,) * 2])
def test_the_presets_go_by_name(name: Any, preset: Environment) -> None:
    """A session is for a preset, in any case, whose token endpoint is that of GOPACS's manual."""
    assert GopacsSession("client", "secret", name).environment is preset
    host = {PRODUCTION: "auth.gopacs-services.eu", ACCEPTANCE: "auth.acc.gopacs-services.eu"}[preset]
    assert preset.token_url == f"https://{host}/realms/gopacs/protocol/openid-connect/token"


REFUSED = [
    ("https://api.gopacs-services.eu/x", WrongEnvironmentError),
    ("http://api.gopacs-services.eu/x", WrongEnvironmentError),
    ("http://api.acc.gopacs-services.eu/x", InsecureURLError),
]


@pytest.mark.parametrize("url, kind", REFUSED)
def test_a_url_that_can_have_no_token_is_refused(url: str, kind: type[Exception]) -> None:
    """Production in an acceptance session, and http to one's own host, are sent only if the token is withheld."""
    session = GopacsSession("client", "secret", "acceptance")
    session.mount("https://", Offline())
    session.mount("http://", Offline())
    with pytest.raises(kind, match="nothing was sent"):
        session.get(url)
    assert "Authorization" not in session.get(url, withhold_token=True).request.headers
