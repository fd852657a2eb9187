"""Which URL belongs to which environment, and what a session does with a URL that belongs to another."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import trustme
import urllib3
from hypothesis import example, given, settings
from hypothesis import strategies as st
from oauthlib.oauth2 import InsecureTransportError
from servers import TOKEN, Authority, http, raw
from support import Offline

from gopacs_session import ACCEPTANCE, PRODUCTION, ConfigurationError, Environment, GopacsSession, WrongEnvironmentError
from gopacs_session.sandbox import Sandbox

PRESETS = (ACCEPTANCE, PRODUCTION)
LOOPBACK = Environment("loopback", "https://[::1]:8443/token", ("::1",))
TOKEN_PATH = "/realms/gopacs/protocol/openid-connect/token"

# Hosts, or what looks like one, outside GOPACS, though a careless reader might think so.
FOREIGN_NAMES = [
    *("example.org", "eu", "services.eu", "gopacs-services.eu.evil.example", "acc.gopacs-services.eu.evil.example"),
    *("api.gopacs-services.eu.evil.example:443", "evilgopacs-services.eu", "evil-gopacs-services.eu"),
    *("evil_gopacs-services.eu", "accgopacs-services.eu", "acc-gopacs-services.eu", "acc.evilgopacs-services.eu"),
    *("gopacs-services.eu..", "gopacs-services.eue", "gopacs-services.e", "gopacs-services.com", "gopacs-services"),
    *("gopacs_services.eu", "gopacsservices.eu", "gopacs.services.eu", "gopacs-services-eu", "idcons.nl", "127.0.0.1"),
    "[::1]",
]
PARSER_TRICKS = [
    # User-info: what stands before the last "@" is no host.
    *("gopacs-services.eu@evil.example", "api.gopacs-services.eu@evil.example", "user:gopacs-services.eu@evil.example"),
    *("api.gopacs-services.eu:443@evil.example", "a@gopacs-services.eu@evil.example"),
    *("gopacs-services.eu%40evil.example", "gopacs-services.eu%2f@evil.example", "gopacs-services.eu%23@evil.example"),
    # The host ends where the path, the query or the fragment begins.
    *("evil.example/gopacs-services.eu", "evil.example/@gopacs-services.eu", "evil.example/.gopacs-services.eu"),
    *("evil.example?gopacs-services.eu", "evil.example?@gopacs-services.eu", "evil.example?.gopacs-services.eu"),
    *("evil.example#gopacs-services.eu", "evil.example#@gopacs-services.eu", "evil.example#.gopacs-services.eu"),
    "evil.example:443/https://gopacs-services.eu",
    # A backslash is a slash to some parsers, and a character of the user-info to others.
    *("evil.example\\@gopacs-services.eu", "evil.example\\.gopacs-services.eu", "evil.example\\gopacs-services.eu"),
    *("gopacs-services.eu\\@evil.example", "gopacs-services.eu\\.evil.example", "gopacs-services.eu\\evil.example"),
    *("gopacs-services.eu\\", "\\gopacs-services.eu", "evil.example:443\\@gopacs-services.eu"),
    "evil.example%5c@gopacs-services.eu\\",
    # Tabs, newlines, spaces, NUL: dropped by some parsers.
    *("gopacs-services\t.eu", "gopacs-services.eu\t.evil.example", "gopacs-services.eu\n.evil.example"),
    *("gopacs-services.eu\n", "gopacs-services.eu\r\n", "\tgopacs-services.eu", "\ngopacs-services.eu"),
    *(" gopacs-services.eu", "gopacs-services.eu ", "gopacs-services.eu .evil.example"),
    *("evil.example gopacs-services.eu", "evil.example\t@gopacs-services.eu", "evil.example\n@gopacs-services.eu"),
    *("gopacs-services.eu\x00", "gopacs-services.eu\x00.evil.example", "evil.example\x00.gopacs-services.eu"),
    *("gopacs-services.eu\x0b", "gopacs-services.eu\x1f", "gopacs-services.eu\x7f", "gopacs-services.eu\x85"),
    *("gopacs-services.eu\u2028", "gopacs-services.eu\ufeff"),
    # Percent-encoded hosts.
    *("gopacs-services%2Eeu", "%67opacs-services.eu", "gopacs-services.eu%2Eevil.example"),
    *("gopacs-services.eu%00.evil.example", "gopacs-services.eu%2F.evil.example", "evil.example%2F.gopacs-services.eu"),
    *("evil.example%23.gopacs-services.eu", "evil.example%3F.gopacs-services.eu", "evil.example%5C.gopacs-services.eu"),
    "evil.example%00.gopacs-services.eu",
    # Names in other alphabets, which some parsers turn into ours, and others into an xn-- name of somebody else's.
    *("g\u043epacs-services.eu", "\u0261opacs-services.eu", "xn--gpacs-services-ubn.eu", "gopacs-service\u017f.eu"),
    *("gopacs\u2010services.eu", "gopacs\u2013services.eu", "gopacs-services\u3002eu", "gopacs-services\uff0eeu"),
    *("\uff47opacs-services.eu", "gopacs-services.e\uff55", "gopacs-services.eu\uff0f.evil.example"),
    *("gopacs-services.eu\u2024evil.example", "evil.example\uff0f.gopacs-services.eu"),
    *("evil.example\uff03.gopacs-services.eu", "evil.example\uff20gopacs-services.eu"),
    *("evil.example\u2044.gopacs-services.eu", "gopacs-services.eu\u200b", "gopacs\u00adservices.eu"),
    # Addresses and brackets.
    *("0x7f000001", "[::1].gopacs-services.eu", "[::1]gopacs-services.eu", "[gopacs-services.eu]"),
    *("[::ffff:127.0.0.1%25gopacs-services.eu]", "[::1%.gopacs-services.eu]", "[::1]@gopacs-services.eu["),
    # Ports that are none.
    *("gopacs-services.eu:443.evil.example", "gopacs-services.eu:evil.example", "gopacs-services.eu:@evil.example"),
    *("gopacs-services.eu:443:443", "gopacs-services.eu:-1", "gopacs-services.eu:+443"),
    *("gopacs-services.eu:\u0664\u0664\u0663", "gopacs-services.eu:443\\@evil.example"),
    "evil.example:@gopacs-services.eu:443:443",
    # No host at all.
    *("", "@", ":443", ".", "*.gopacs-services.eu", "gopacs-services.eu,evil.example"),
    *("gopacs-services.eu;evil.example", "gopacs-services.eu|evil.example", "gopacs-services.eu&evil.example"),
    *("gopacs-services.eu'", "{gopacs-services.eu}", "<gopacs-services.eu>"),
]

# Texts that are no absolute https URL, whatever host they name.
NO_HTTPS_URLS = [
    *("", "api.gopacs-services.eu", "//api.gopacs-services.eu/", "/api.gopacs-services.eu"),
    *("https:api.gopacs-services.eu", "https:/api.gopacs-services.eu/", "https:///api.gopacs-services.eu/"),
    *("https:\\\\api.gopacs-services.eu/", "https:/\\api.gopacs-services.eu/", "https:\t//api.gopacs-services.eu/"),
    *("ht\ntps://api.gopacs-services.eu/", "\thttps://api.gopacs-services.eu/", " https://api.gopacs-services.eu/"),
    *("\x00https://api.gopacs-services.eu/", "http\uff53://api.gopacs-services.eu/"),
    *("http\u017f://api.gopacs-services.eu/", "https\uff1a//api.gopacs-services.eu/"),
    *("https%3A//api.gopacs-services.eu/", "https+unix://api.gopacs-services.eu/", "httpss://api.gopacs-services.eu/"),
    *("shttps://api.gopacs-services.eu/", "file://api.gopacs-services.eu/", "ftp://api.gopacs-services.eu/"),
    *("wss://api.gopacs-services.eu/", "mailto:https://api.gopacs-services.eu/"),
    "view-source:https://api.gopacs-services.eu/",
]

# Authorities, and whose they are.
OF_PRODUCTION = [
    *("gopacs-services.eu", "api.gopacs-services.eu", "clc-message-broker.gopacs-services.eu"),
    *("auth.gopacs-services.eu", "a.b.c.d.gopacs-services.eu", "eviled-name-of-their-own.gopacs-services.eu"),
    *("gopacs-services.eu.gopacs-services.eu", "notacc.gopacs-services.eu", "acc-gopacs-services.gopacs-services.eu"),
    *("acc.api.gopacs-services.eu", "acc.gopacs-services.eu.api.gopacs-services.eu", "acceptance.gopacs-services.eu"),
    *("evilacc.gopacs-services.eu", "evil-acc.gopacs-services.eu", "under_score.gopacs-services.eu"),
    *("xn--bcher-kva.gopacs-services.eu", "API.GOPACS-SERVICES.EU", "Api.Gopacs-Services.Eu"),
    *("api.gopacs-services.eu.", "api.gopacs-services.eu:443", "api.gopacs-services.eu:8443"),
    *("api.gopacs-services.eu:", "user@api.gopacs-services.eu", "evil.example@api.gopacs-services.eu"),
    *("user@evil.example@api.gopacs-services.eu", "api.acc.gopacs-services.eu@api.gopacs-services.eu"),
]
OF_ACCEPTANCE = [
    *("acc.gopacs-services.eu", "api.acc.gopacs-services.eu", "clc-message-broker.acc.gopacs-services.eu"),
    *("gopacs-services.eu.acc.gopacs-services.eu", "API.ACC.GOPACS-SERVICES.EU", "api.Acc.gopacs-services.eu"),
    *("api.acc.gopacs-services.eu.", "ACC.gopacs-services.eu.:443", "api.acc.gopacs-services.eu:443"),
    *("user:password@api.acc.gopacs-services.eu:443", "api.gopacs-services.eu@api.acc.gopacs-services.eu"),
]
OWN_AUTHORITIES = [
    *((authority, PRODUCTION) for authority in OF_PRODUCTION),
    *((authority, ACCEPTANCE) for authority in OF_ACCEPTANCE),
]
TAILS = ["", "/", "/participants?q=1#there", "?q=@evil.example", "#@evil.example", "/\\@evil.example", "/\n"]


class Recorder(Offline):
    """An adapter for every host that keeps what it is to send."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        self.sent.append(request)
        return super().send(request)


def recorded(session: requests.Session) -> Recorder:
    """Everything that `session` sends from now on."""
    recorder = Recorder()
    session.adapters.clear()
    session.mount("https://", recorder)
    session.mount("http://", recorder)
    return recorder


def client(environment: Environment) -> GopacsSession:
    return GopacsSession("client", "secret", environment)


@pytest.mark.parametrize("authority, owner", OWN_AUTHORITIES)
def test_an_environments_own_hosts_are_covered(authority: str, owner: Environment) -> None:
    """Hosts at and below acc.gopacs-services.eu are acceptance's, others below gopacs-services.eu are production's."""
    for scheme, tail in product(["https", "HTTPS", "hTTps"], TAILS):
        url = f"{scheme}://{authority}{tail}"
        assert [environment for environment in PRESETS if environment.covers(url)] == [owner]


@pytest.mark.parametrize(
    "authority",
    [
        *FOREIGN_NAMES,
        *PARSER_TRICKS,
        *(trick.replace("gopacs-services", "acc.gopacs-services") for trick in PARSER_TRICKS),
    ],
)
def test_no_look_alike_is_covered(authority: str) -> None:
    """No preset covers a host that merely resembles GOPACS's, nor a URL that parsers may disagree about."""
    for tail, environment in product(["", "/", "/path"], PRESETS):
        assert not environment.covers(f"https://{authority}{tail}")


@pytest.mark.parametrize("url", NO_HTTPS_URLS + [f"http://{authority}/path" for authority, _ in OWN_AUTHORITIES])
def test_nothing_but_an_absolute_https_url_is_covered(url: str) -> None:
    """No preset covers http, another scheme, or a text that only some parsers take for a URL."""
    assert not any(environment.covers(url) for environment in PRESETS)


def connects_to(url: str | None) -> set[str]:
    """The hosts that urllib3's and requests' parsers see in a URL that requests prepared; none if they refuse it."""
    if url is None:
        return set()
    try:
        with urllib3.PoolManager() as manager:
            hosts = {manager.connection_from_url(url).host, urllib3.util.parse_url(url).host, urlsplit(url).hostname}
    except (ValueError, urllib3.exceptions.HTTPError):
        return set()
    return {str(host).lower().removesuffix(".") for host in hosts}


def prepared(url: str) -> str | None:
    """What requests makes of a URL before it looks for the host; None if it refuses it."""
    try:
        return requests.Request("GET", url).prepare().url
    except (ValueError, requests.RequestException):
        return None


def lies_in(host: str, environment: Environment) -> bool:
    """The design's words, in the simplest code there is."""
    if environment is LOOPBACK:
        return host.strip("[]") == "::1"
    labels = host.split(".")
    acceptance = labels[-3:] == ["acc", "gopacs-services", "eu"]
    return acceptance if environment is ACCEPTANCE else labels[-2:] == ["gopacs-services", "eu"] and not acceptance


HOSTS = ["gopacs-services.eu", "acc.gopacs-services.eu", "api.gopacs-services.eu", "evil.example", "[::1]", "127.0.0.1"]
TRICKS = st.sampled_from(
    [*HOSTS, *"@@@::/?#\\%.,;&=[]-_ \t\r\n\x00\x7f\x85", "//", "%2e", "%40", "%2f", "%5c", "%00", "443", "xn--", "acc"]  # noqa: RUF005
    + ["\uff0e", "\uff20", "\uff0f", "\u3002", "\u017f", "\u00ad", "\u200b", "\u2044", "user:pw@", "evil"]
)
PIECES = st.lists(TRICKS | st.characters(exclude_categories=["Cs"]), max_size=5).map("".join)
SCHEMES = st.sampled_from(
    ["https://", "https://", "https://", "HTTPS://", "http://", "https:/", "https:\\\\", "https:"]
)
LABELS = st.text("abcXYZ019", min_size=1, max_size=8)


@settings(max_examples=1000, deadline=None, derandomize=True, database=None)
@given(
    scheme=SCHEMES,
    before=st.tuples(PIECES, st.sampled_from(["", "", ".", "@"])).map("".join) | st.just(""),
    host=st.sampled_from(HOSTS),
    after=st.tuples(st.sampled_from(["", "", ".", "/", ":", ":443/"]), PIECES).map("".join) | st.just(""),
)
@example("https://", "user:pw@", "gopacs-services.eu", "\\@evil.example")
@example("https://", "evil.example\\@", "gopacs-services.eu", "")
def test_what_is_covered_is_where_requests_connects(scheme: str, before: str, host: str, after: str) -> None:
    """Whatever a URL looks like, it is covered only if the host that requests connects to is the environment's."""
    raw_url = f"{scheme}{before}{host}{after}"
    for url, environment in product({raw_url, prepared(raw_url) or ""}, [*PRESETS, LOOPBACK]):
        if environment.covers(url):
            assert all(lies_in(host, environment) for host in connects_to(prepared(url)))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(labels=st.lists(LABELS, max_size=4), port=st.none() | st.integers(1, 65535), path=st.sampled_from(TAILS))
def test_every_well_formed_host_below_the_domains_is_covered(labels: list[str], port: int | None, path: str) -> None:
    """No host, port, path or query of an environment's own is left without its token."""
    for environment, domain in (ACCEPTANCE, "acc.gopacs-services.eu"), (PRODUCTION, "gopacs-services.eu"):
        host = ".".join([*labels, domain])
        url = f"https://{host}{'' if port is None else f':{port}'}{path}"
        assert environment.covers(url) == lies_in(host.lower(), environment)


def test_the_presets_are_those_of_gopacs() -> None:
    """The token endpoints are those of GOPACS's manual, at Keycloak's path."""
    assert (ACCEPTANCE.name, ACCEPTANCE.token_url) == ("acceptance", f"https://auth.acc.gopacs-services.eu{TOKEN_PATH}")
    assert (PRODUCTION.name, PRODUCTION.token_url) == ("production", f"https://auth.gopacs-services.eu{TOKEN_PATH}")


@pytest.mark.parametrize(
    "domains, url, covered",
    [
        (["eu"], "https://example.eu/", True),
        (["eu"], "https://api.gopacs-services.eu/", False),
        (["gopacs-services.eu"], "https://api.gopacs-services.eu/", True),
        (["gopacs-services.eu"], "https://api.acc.gopacs-services.eu/", False),
        (["api.acc.gopacs-services.eu"], "https://api.acc.gopacs-services.eu/", True),
        (["example.org", "example.net"], "https://api.example.net/", True),
        (["Example.ORG."], "https://api.example.org/", True),
        (["127.0.0.1"], "https://127.0.0.1:8443/", True),
        (["localhost"], "https://localhost:8443/", True),
        (["k.example"], "https://k.example/", True),
        (["k.example"], "https://\u212a.example/", False),  # The sign for kelvin is a k in lower case.
        (["localhost"], "https://127.0.0.1:8443/", False),
        (["[::1]"], "https://[0:0::1]:8443/", True),
        (["2001:DB8::a"], "https://[2001:db8:0::A]/", True),
        (["::1"], "https://[::2]/", False),
        (["::1"], "https://[::1].example/", False),
        (["::1"], "https://[::1::]/", False),
        (["x"], "https://api.x/", True),
    ],
)
def test_an_environment_of_ones_own_covers_its_domains(domains: list[str], url: str, covered: bool) -> None:
    """An environment of one's own covers its domains and all below, except what lies in a preset's longer one."""
    assert Environment("own", "https://auth.example.org/token", tuple(domains)).covers(url) is covered


MALFORMED: dict[str, list[Any]] = {
    "name": ["", "  ", None],
    "token_url": [
        *("", "http://auth.example.org/token", "auth.example.org/token", "https://", "https:///token"),
        *("https://auth.example.org\\token", " https://auth.example.org/token", "ftp://auth.example.org/token"),
        *("https://user:password@auth.example.org/token", None, 1, b"https://auth.example.org/token"),
        "https://[::1::]/token",
    ],
    "api_domains": [
        *((), None, 1, "example.org", b"example.org", ("",), (".",), ("example.org", ""), (".example.org",)),
        *(("*.example.org",), ("example..org",), ("https://example.org",), ("example.org/path",), ("example.org:443",)),
        *(("exa mple.org",), ("example.org\n",), ("b\u00fccher.example",), ("::1::",), ("fe80::1%eth0",), (None,)),
        (1,),
    ],
    "ca_bundle": ["", 1],
}


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, values in MALFORMED.items() for value in values], ids=repr
)
def test_a_malformed_environment_is_refused(name: str, value: Any) -> None:
    """An Environment whose fields are empty or malformed is a ConfigurationError."""
    good = {"name": "own", "token_url": "https://auth.example.org/token", "api_domains": ("example.org",)}
    with pytest.raises(ConfigurationError):
        Environment(**{**good, name: value})


def test_an_environments_ca_bundle_is_trusted_for_its_hosts_only(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """ca_bundle beats REQUESTS_CA_BUNDLE for token endpoint and API; other hosts and verify= are as in requests."""
    trustme.CA().cert_pem.write_to_path(str(tmp_path / "company.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "company.pem"))
    with GopacsSession(sandbox.client_id, sandbox.client_secret, sandbox.environment) as session:
        assert session.get(sandbox.api_url, verify=True).status_code == 200
        prepared = session.prepare_request(requests.Request("GET", sandbox.api_url))
        assert session.send(prepared).status_code == 200
        foreign = sandbox.api_url.replace("localhost", "127.0.0.1")
        with pytest.raises(requests.exceptions.SSLError):
            session.get(foreign)
        with pytest.raises(requests.exceptions.SSLError):
            session.send(session.prepare_request(requests.Request("GET", foreign)))
        with pytest.raises(requests.exceptions.SSLError):
            session.get(sandbox.api_url, verify=str(tmp_path / "company.pem"))
    assert (len(sandbox.token_requests), len(sandbox.api_requests)) == (1, 2)


def test_an_ipv6_address_is_a_host(authority: Authority) -> None:
    """Token endpoint and API can be at an IPv6 address, however that is spelt."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(
                authority.server(raw(http(TOKEN, "Connection: close")), raw(http(b"{}")), address="::1")
            )
        except OSError:
            pytest.skip("this machine has no IPv6")
        environment = replace(server.environment, ca_bundle=authority.ca_file)
        session = stack.enter_context(GopacsSession("client", "secret", environment))
        assert session.get(environment.token_url.replace("[::1]", "[0::1]")).status_code == 200
    assert b"Authorization: Bearer from-the-raw-server\r\n" in server.requests[1]


def test_an_environment_is_a_value() -> None:
    """Environments of the same fields are equal, can be keys, and can't be changed under a running session."""
    own = Environment("own", "https://auth.example.org/token", ("example.org",))
    assert {own: 1}[Environment("own", "https://auth.example.org/token", ("EXAMPLE.org",))] == 1
    with pytest.raises(AttributeError):
        own.token_url = "https://evil.example/token"  # type: ignore[misc]


OF_THE_OTHER = [
    (ACCEPTANCE, "https://api.gopacs-services.eu/x", PRODUCTION),
    (ACCEPTANCE, "https://API.gopacs-services.eu.:443/x", PRODUCTION),
    (ACCEPTANCE, "https://user:password@api.gopacs-services.eu/x", PRODUCTION),
    (ACCEPTANCE, "http://api.gopacs-services.eu/x", PRODUCTION),
    (PRODUCTION, "https://acc.gopacs-services.eu/x", ACCEPTANCE),
    (PRODUCTION, "https://api.Acc.gopacs-services.eu/x", ACCEPTANCE),
    (PRODUCTION, "https://api.acc.gopacs-services.eu./x", ACCEPTANCE),
    (PRODUCTION, "http://api.acc.gopacs-services.eu/x", ACCEPTANCE),
    (None, "https://api.gopacs-services.eu/x", PRODUCTION),
    (None, "https://api.acc.gopacs-services.eu/x", ACCEPTANCE),
    (None, "http://api.acc.gopacs-services.eu/x", ACCEPTANCE),
]


@pytest.mark.parametrize("own, url, owner", OF_THE_OTHER)
def test_a_url_of_another_environment_is_refused(
    sandbox: Sandbox, own: Environment | None, url: str, owner: Environment
) -> None:
    """A request to a preset's host in a session of any other environment raises before anything is sent."""
    with client(own) if own else sandbox.session() as session:
        recorder = recorded(session)
        with pytest.raises(WrongEnvironmentError) as refusal:
            session.post(url, data=b"<message/>")
        assert session.environment.name in str(refusal.value)
        assert owner.name in str(refusal.value)
    assert recorder.sent == []
    assert sandbox.token_requests == []


@pytest.mark.parametrize("own, url, owner", OF_THE_OTHER)
def test_withhold_token_sends_the_plain_request_anywhere(
    sandbox: Sandbox, own: Environment | None, url: str, owner: Environment
) -> None:
    """With withhold_token even a URL of another environment gets the request that requests.Session would send."""
    with client(own) if own else sandbox.session() as session, requests.Session() as plain:
        ours, theirs = recorded(session), recorded(plain)
        session.post(url, data=b"<message/>", withhold_token=True)
        plain.post(url, data=b"<message/>")
    assert [what_goes_out(request) for request in ours.sent] == [what_goes_out(request) for request in theirs.sent]
    assert sandbox.token_requests == []


@pytest.mark.parametrize(
    "own, url",
    [
        (ACCEPTANCE, "http://api.acc.gopacs-services.eu/x"),
        (ACCEPTANCE, "HTTP://user@ACC.gopacs-services.eu.:443/x"),
        (PRODUCTION, "http://api.gopacs-services.eu/x"),
        (PRODUCTION, "http://gopacs-services.eu"),
        (None, "http://localhost/x"),
    ],
)
def test_http_to_the_environments_own_host_is_refused(sandbox: Sandbox, own: Environment | None, url: str) -> None:
    """An http:// URL of a host of the session's environment raises InsecureTransportError before anything is sent."""
    with client(own) if own else sandbox.session() as session:
        recorder = recorded(session)
        with pytest.raises(InsecureTransportError):
            session.post(url, data=b"<message/>")
    assert recorder.sent == []
    assert sandbox.token_requests == []


@pytest.mark.parametrize("own", [ACCEPTANCE, PRODUCTION, None], ids=lambda own: own.name if own else "sandbox")
@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_look_alike_gets_the_plain_request(sandbox: Sandbox, own: Environment | None, scheme: str) -> None:
    """To a look-alike the session sends what requests.Session would, netrc included, or refuses it as that does."""
    Path(os.environ["NETRC"]).write_text("machine evilgopacs-services.eu login user password from-netrc\n")
    with client(own) if own else sandbox.session() as session, requests.Session() as plain:
        session.trust_env = True
        session.token = {"access_token": "never-to-leave", "expires_in": 300}
        ours, theirs = recorded(session), recorded(plain)
        for authority in FOREIGN_NAMES + PARSER_TRICKS:
            url = f"{scheme}://{authority}/path"
            # requests makes GOPACS's own names of some full-width ones: those are another test's.
            if not any(lies_in(host, preset) for host in connects_to(prepared(url)) for preset in PRESETS):
                assert refuses(session, url) == refuses(plain, url)
    assert [what_goes_out(request) for request in ours.sent] == [what_goes_out(request) for request in theirs.sent]
    assert any(str(request.headers.get("Authorization")).startswith("Basic ") for request in ours.sent)
    assert "never-to-leave" not in str([what_goes_out(request) for request in ours.sent])


@pytest.mark.parametrize("padding", ["", "  "])
@pytest.mark.parametrize("kind", [str, str.encode])
def test_the_url_that_counts_is_the_one_requests_prepares(padding: str, kind: Callable[[str], Any]) -> None:
    """Bytes and padding, which requests removes, change nothing: such a URL bears the token, or is refused."""
    url = kind(f"{padding}https://api.gopacs-services.eu/x")
    with client(PRODUCTION) as session:
        session.token = {"access_token": "its-own", "expires_in": 300}
        recorder = recorded(session)
        session.get(url)
    assert [request.url for request in recorder.sent] == ["https://api.gopacs-services.eu/x"]
    assert recorder.sent[0].headers["Authorization"] == "Bearer its-own"
    with client(ACCEPTANCE) as session, pytest.raises(WrongEnvironmentError):
        session.get(url)


def refuses(session: requests.Session, url: str) -> bool:
    """Whether `url` is not even tried: an InvalidURL, or a parser's ValueError that requests lets through."""
    try:
        session.get(url)
    except WrongEnvironmentError:
        raise
    except (ValueError, requests.RequestException):
        return True
    return False


def what_goes_out(request: requests.PreparedRequest) -> tuple[Any, ...]:
    return request.method, request.url, dict(request.headers), request.body
