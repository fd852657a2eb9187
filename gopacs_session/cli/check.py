"""``gopacs-session check``: one step after the other to the token, each with what to do where it does not work."""

import base64
import json
import os
import re
import socket
import ssl
from argparse import Namespace
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from time import perf_counter, time
from typing import NamedTuple
from urllib.parse import urlsplit

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, prepend_scheme_if_needed, select_proxy
from urllib3.util import parse_url

from ..environments import PRESETS
from ..exceptions import ConfigurationError, InvalidClientError, TokenRequestError, causes, why
from ..session import GopacsSession
from .terminal import ExitCode, complain, printable, say, verdict, warnings_to
from .token import configure

TIMEOUT = 10  # seconds
TOLERANCE = 30  # seconds that clocks may differ
MARKS = {True: "✓", False: "✗", None: "·"}
BAD_PROXY = (
    "The proxy's URL (HTTPS_PROXY or ALL_PROXY) is malformed. It looks like http://user:password@proxy.example:8080, "
    "with everything but letters and digits percent-encoded in user and password: %2F for a slash, %40 for an @."
)
DO_TRUST = (
    "Have GOPACS_CA_BUNDLE name a file (PEM) with the CA's certificate. The usual cause is a company's proxy, whose CA "
    "certificate your network department has."
)
TLS_ADVICE = {  # by OpenSSL's X509_V_ERR codes
    9: "Check this machine's clock.",
    10: "Check this machine's clock; if it is right, the server or the proxy needs a new certificate.",
    62: "Another server answers here: check the URL, HTTPS_PROXY, and who resolves the name.",
}
IN_THE_UI = (
    "In the GOPACS UI of {}, a Grid Admin finds the client under Organisations > API Clients, a Trading Company Admin "
    "under API Clients. The key is shown only once: if in doubt, register another client."
)


class Step(NamedTuple):
    """What one look found; `passed` is None if there was nothing to look at."""

    name: str
    passed: bool | None
    text: str
    advice: str = ""
    code: ExitCode = ExitCode.SUCCESS

    def show(self) -> None:
        say(self.text, f"{MARKS[self.passed]} {self.name:<13}  ")
        if self.advice:
            say(self.advice, f"{'→':>14} ")


def run(options: Namespace) -> ExitCode:
    """Print what works and what does not, step by step."""
    steps = []
    with warnings_to(complain):
        for step in diagnose(options):
            steps.append(step)
            if not options.json:
                step.show()
    code = next((step.code for step in steps if step.code), ExitCode.SUCCESS)
    if options.json:
        report = {"passed": code == ExitCode.SUCCESS, "steps": [step._asdict() for step in steps]}
        print(json.dumps(report, indent=2))
    return code


def diagnose(options: Namespace) -> Iterator[Step]:
    """Look at one thing after the other, until something is found that makes the rest pointless."""
    try:
        arguments, sources = configure(options)
        session = GopacsSession(**arguments)
    except ConfigurationError as error:
        yield Step("configuration", False, str(error), "See gopacs-session --help.", ExitCode.CONFIGURATION)
        return
    with session:
        check = Check(session, sources)
        looks = (
            check.configuration,
            check.network,
            check.name,
            check.tls,
            check.clock,
            check.credentials,
            check.client,
        )
        for look in looks:
            step = look()
            yield step
            if step.passed is False and step.name != "clock":
                return


class Check:
    """The steps, each of which relies on those before it."""

    def __init__(self, session: GopacsSession, sources: dict[str, str]) -> None:
        self._session, self._sources, self._environment = session, sources, session.environment
        self._url = self._environment.token_url
        self._host, self._port = urlsplit(self._url).hostname or "", urlsplit(self._url).port or 443
        # As for a token request, whose host may be none of the API's.
        self._settings = session.merge_environment_settings(self._url, {}, True, self._environment.ca_bundle, None)
        verify = self._settings["verify"]
        self._bundle = DEFAULT_CA_BUNDLE_PATH if verify is True else verify

    def configuration(self) -> Step:
        client, environment, sources = self._session.client_id, self._environment.name, self._sources
        text = f"client {client} (from {sources['client_id']})\nsecret (from {sources['client_secret']})\n"
        return Step("configuration", True, f"{text}environment {environment} (from {sources['environment']})")

    def network(self) -> Step:
        names = ["GOPACS_CA_BUNDLE"] if self._environment.ca_bundle else []
        names += [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)]
        source = names[0] if names else "certifi, which requests brings"
        try:
            proxy = select_proxy(self._url, self._settings["proxies"])
            self._proxy = _without_credentials(proxy) if proxy else ""
            option = "capath" if os.path.isdir(self._bundle) else "cafile"
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{option: self._bundle})
        except OSError as error:
            advice = f"{source} must name a file of certificates (PEM), or a directory made by openssl rehash."
            text = f"CA bundle {self._bundle} can't be loaded: {why(error)}"
            return Step("network", False, text, advice, ExitCode.CONFIGURATION)
        except (TypeError, ValueError):  # requests itself stumbles over a user without a host.
            return Step("network", False, BAD_PROXY, code=ExitCode.CONFIGURATION)
        shown = f"proxy {self._proxy}" if self._proxy else "no proxy"
        return Step("network", True, f"{shown}\nCA bundle {self._bundle} (from {source})")

    def name(self) -> Step:
        if self._proxy and not self._proxy.startswith(("socks4:", "socks5:")):
            return Step("name", None, f"{self._host} is left to the proxy to resolve")
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            advice = "Check the name, this machine's DNS, and whether HTTPS_PROXY should name a proxy."
            return Step("name", False, f"{self._host}: {why(error)}", advice, ExitCode.NO_TOKEN)
        return Step("name", True, f"{self._host} is {', '.join(sorted({str(address[0]) for *_, address in found}))}")

    def tls(self) -> Step:
        # A GET without credentials, which a token endpoint refuses.
        request = requests.Request("GET", self._url, headers={"Accept": "application/json"}).prepare()
        sent = time()
        try:
            response = self._session.send(request, timeout=TIMEOUT, allow_redirects=False, **self._settings)
        except requests.RequestException as error:
            return Step("TLS", False, *self._unreached(error), ExitCode.NO_TOKEN)
        with response:
            self._time, self._date = (sent + time()) / 2, response.headers.get("Date", "")
            connection = getattr(response.raw.connection, "sock", None)  # None if the server has closed it.
            if connection is None:
                return Step("TLS", True, "the certificate is trusted")
            protocol, certificate = connection.version(), connection.getpeercert()
        expires = datetime.fromtimestamp(ssl.cert_time_to_seconds(certificate["notAfter"]), timezone.utc)
        days = (expires - datetime.now(timezone.utc)).days
        names = dict(pair for part in certificate["issuer"] for pair in part)
        issuer = printable(", ".join(names[kind] for kind in ("commonName", "organizationName") if kind in names))
        return Step("TLS", True, f"{protocol}, certificate by {issuer}, until {expires:%Y-%m-%d} ({days} days)")

    def _unreached(self, error: requests.RequestException) -> tuple[str, str]:
        words, through = printable(why(error)), f" through {self._proxy}" if self._proxy else ""
        untrusted = [cause for cause in causes(error) if isinstance(cause, ssl.SSLCertVerificationError)]
        if untrusted:
            whose = f"the proxy {self._proxy}" if isinstance(error, requests.exceptions.ProxyError) else self._host
            text = f"the certificate of {whose} is not trusted: {words}\nCA bundle {self._bundle}"
            return text, TLS_ADVICE.get(untrusted[0].verify_code, DO_TRUST)
        advice = "Check that it runs, firewalls, and whether a proxy is needed (HTTPS_PROXY) or not (NO_PROXY)."
        if self._proxy:
            advice = "Check HTTPS_PROXY with its user and password (SOCKS needs requests[socks]), or ask your network "
            advice += "department about this host."
        return f"{self._host}:{self._port}{through}: {words}", advice

    def clock(self) -> Step:
        try:
            # Half a second, since the header has whole ones.
            ahead = self._time - parsedate_to_datetime(self._date).timestamp() - 0.5
        except (ValueError, OverflowError):
            return Step("clock", None, "the server sends no Date to compare it with")
        if abs(ahead) <= TOLERANCE:
            return Step("clock", True, "agrees with the server's")
        text = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
        advice = "Set this machine's clock (NTP): certificates, stored tokens and messages are judged by their times."
        return Step("clock", False, text, advice, ExitCode.CONFIGURATION)

    def credentials(self) -> Step:
        started = perf_counter()
        try:
            self._session.fetch_token()
        except TokenRequestError as error:
            text, code = verdict(error)
            return Step("credentials", False, text, self._advice(error), code)
        took, life = perf_counter() - started, self._session.token["expires_in"]
        return Step("credentials", True, f"accepted in {took:.2f} s; the token lives {life:g} s")

    def _advice(self, error: TokenRequestError) -> str:
        if isinstance(error, InvalidClientError):
            if any(self._url == preset.token_url for preset in PRESETS):
                return IN_THE_UI.format(self._environment.name)
            return "Ask who administers this authorization server for the client's id and secret."
        if type(error) is TokenRequestError:
            return "Check that GOPACS_TOKEN_URL is a token endpoint, and ask its administrator what this client may do."
        return ""

    def client(self) -> Step:
        """Whose token it is, with roles in Keycloak's way, if it is a JWT (RFC 7519). It is decoded, not verified."""
        try:
            payload = str(self._session.access_token).split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            name, groups = claims.get("azp") or claims["client_id"], {"": claims.get("realm_access", {})}
            groups |= {f"{client}:": access for client, access in claims.get("resource_access", {}).items()}
            roles = sorted(f"{group}{role}" for group, access in groups.items() for role in access.get("roles", []))
        except (IndexError, ValueError, AttributeError, TypeError, KeyError):
            return Step("client", True, "the token is opaque: it tells neither name nor roles")
        held = f"with roles {', '.join(roles)}" if roles else "without any role"
        return Step("client", True, printable(f"{name}, {held}"))


def _without_credentials(proxy: str) -> str:
    """A proxy's URL as it can be shown."""
    scheme, _, host, port, *rest = parse_url(prepend_scheme_if_needed(proxy, "http"))
    # An @ after the host: what was taken for the host is the user, and a slash or the like is in the password.
    if not re.match("https?$|socks", scheme or "") or not host or "@" in str(rest):
        raise ValueError
    return f"{scheme}://{host}{f':{port}' if port else ''}"
