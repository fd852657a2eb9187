"""Why does it not work? One step after the other from the configuration to the token, each with what to do about it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import requests

from ..causes import causes, reason
from ..environment_variables import Configuration
from ..environments import PRESETS
from ..exceptions import AuthorizationServerError, InvalidClientError, TokenRequestError
from ..session import GopacsSession
from .certificate import Certificate
from .claims import name_and_roles
from .exit_code import ExitCode, of_error
from .probe import Probe, Route, probe, untrusted_certificate

TOLERANCE = 30  # seconds that clocks may differ
WHERE_TO_LOOK = (
    "In the GOPACS UI of {environment}, a Grid Admin finds it under Organisations > API Clients, a Trading Company "
    "Admin under API Clients. The key is shown only once: if in doubt, register another client."
)
DO_TRUST = "If that is your company's proxy, have REQUESTS_CA_BUNDLE name a file with its CA certificate."
ANOTHER_SERVER = "Another server answers here: check the URL, and who resolves its name."
TLS_ADVICE = {  # by the codes of OpenSSL's X509_verify_cert
    9: "Check this machine's clock.",
    10: "Check this machine's clock; if it is right, the server or the proxy needs a new certificate.",
    62: ANOTHER_SERVER,
    64: ANOTHER_SERVER,  # by its IP address
}


@dataclass(frozen=True)
class Step:
    """What one look found.

    Attributes:
        name: one word.
        passed: None if there was nothing to look at.
        text: what was found; it holds no secret and no token.
        advice: what to do about it.
        code: what the command should exit with on account of this step.
        details: the same for programs.
    """

    name: str
    passed: bool | None
    text: str
    advice: str = ""
    code: ExitCode = ExitCode.SUCCESS
    details: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "step": self.name,
            "passed": self.passed,
            "text": self.text,
            "advice": self.advice,
            "details": self.details,
        }


def diagnose(configure: Callable[[], Configuration]) -> Iterator[Step]:
    """Look at one thing after the other, until something is found that makes the rest pointless.

    Args:
        configure: returns the session's arguments, or raises :class:`~gopacs_session.ConfigurationError`.
    """
    try:
        configuration = configure()
        session = GopacsSession(**configuration.arguments)
        diagnosis = _Diagnosis(session)
    except ValueError as error:  # ConfigurationError is one; so is what is wrong with the token URL's port.
        advice = "gopacs-session --help names the variables, and the options that go before them."
        yield Step("configuration", False, str(error), advice, ExitCode.CONFIGURATION)
        return
    with session:
        yield _configuration(session, configuration.sources)
        yield from diagnosis.steps()


def _configuration(session: GopacsSession, sources: Mapping[str, str]) -> Step:
    found = {
        "client": str(session.client_id),
        "environment": session.environment.name,
        "token_url": session.environment.token_url,
        "api_domains": list(session.environment.api_domains),
    }
    text = (
        f"client {found['client']} (from {sources['client_id']})\n"
        f"secret (from {sources['client_secret']})\n"
        f"environment {found['environment']} (from {sources['environment']})"
    )
    return Step("configuration", True, text, details={**found, "sources": dict(sources)})


class _Diagnosis:
    """The steps after the configuration; each may rely on those before it."""

    def __init__(self, session: GopacsSession) -> None:
        self._session = session
        self._url = session.environment.token_url
        parts = urlsplit(self._url)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._route = Route.to(self._url, session)
        self._probe = Probe()
        self._token: dict[str, Any] = {}

    def steps(self) -> Iterator[Step]:
        for look in (self._way, self._name, self._tls, self._clock, self._credentials, self._life, self._client):
            step = look()
            yield step
            if step.passed is False and look != self._clock:
                return

    def _way(self) -> Step:
        route = self._route
        text = f"proxy {route.proxy}" if route.proxy else "no proxy"
        text += f"\nCA bundle {route.ca_bundle} ({route.ca_source})"
        details = {"proxy": route.proxy, "ca_bundle": route.ca_bundle}
        fault = route.ca_fault()
        if fault:
            advice = f"{route.ca_source} must name a file of certificates (PEM) or a directory made by openssl rehash."
            return Step("network", False, f"{text}\nThe CA bundle {fault}.", advice, ExitCode.CONFIGURATION, details)
        return Step("network", True, text, details=details)

    def _name(self) -> Step:
        if self._route.proxy:
            return Step("name", None, f"{self._host} is left to the proxy to resolve")
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            advice = "Check the name, this machine's DNS, and whether HTTPS_PROXY should name a proxy."
            return Step("name", False, f"{self._host}: {reason(error)}", advice, ExitCode.NO_TOKEN)
        addresses = sorted({str(address[0]) for *_, address in found})
        return Step("name", True, f"{self._host} is {', '.join(addresses)}", details={"addresses": addresses})

    def _tls(self) -> Step:
        try:
            self._probe = probe(self._session, self._url, self._route)
        except requests.RequestException as error:
            return self._unreached(error)
        certificate, protocol = self._probe.certificate, self._probe.protocol
        text = f"{protocol}, {certificate or 'certificate trusted'}"
        return Step("TLS", True, text, details={"protocol": protocol, **_details(certificate)})

    def _unreached(self, error: requests.RequestException) -> Step:
        for cause in causes(error):
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._untrusted(cause)
        where = f"{self._host}:{self._port}"
        advice = "Check firewalls, and whether a proxy is needed (HTTPS_PROXY) or not (NO_PROXY)."
        if isinstance(error, requests.exceptions.ProxyError):
            where = f"{where} through {self._route.proxy}"
            advice = "Check HTTPS_PROXY, with user and password if the proxy wants them, and NO_PROXY."
        return Step("TLS", False, f"{where}: {reason(error)}", advice, ExitCode.NO_TOKEN)

    def _untrusted(self, error: ssl.SSLCertVerificationError) -> Step:
        certificate = untrusted_certificate(self._session, self._url, self._route)
        text = f"{error.verify_message}\n{certificate or ''}".strip()
        advice = TLS_ADVICE.get(error.verify_code, DO_TRUST)
        return Step("TLS", False, text, advice, ExitCode.NO_TOKEN, _details(certificate))

    def _clock(self) -> Step:
        try:
            # Half a second, since the header has whole ones.
            server_time = parsedate_to_datetime(self._probe.date or "").timestamp() + 0.5
        except (ValueError, OverflowError):
            return Step("clock", None, "the server sends no Date to compare it with")
        skew = (self._probe.sent + self._probe.received) / 2 - server_time
        details = {"seconds_ahead": round(skew, 1)}
        if abs(skew) <= TOLERANCE:
            return Step("clock", True, "agrees with the server's", details=details)
        text = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
        advice = "Set this machine's clock (NTP): certificates, stored tokens and messages are judged by their times."
        return Step("clock", False, text, advice, ExitCode.CONFIGURATION, details)

    def _credentials(self) -> Step:
        started = perf_counter()
        try:
            self._token = self._session.fetch_token()
        except TokenRequestError as error:
            words = ": ".join(part for part in (error.error, error.description) if part)
            details = {"status": error.status_code, "error": error.error, "description": error.description}
            return Step(
                "credentials", False, f"{error}\n{words}".strip(), self._advice(error), of_error(error), details
            )
        return Step("credentials", True, f"accepted, in {perf_counter() - started:.2f} s")

    def _advice(self, error: TokenRequestError) -> str:
        if isinstance(error, InvalidClientError) and self._session.environment in PRESETS:
            return WHERE_TO_LOOK.format(environment=self._session.environment.name)
        if isinstance(error, AuthorizationServerError):
            return "This may pass: try again in some minutes."
        if isinstance(error, InvalidClientError) or error.status_code is None:
            return ""
        return "Check that GOPACS_TOKEN_URL is a token endpoint, and that no proxy answers in its place."

    def _life(self) -> Step:
        seconds = self._token["expires_in"]
        return Step("token", True, f"lives {seconds:g} s", details={"expires_in": seconds})

    def _client(self) -> Step:
        name, roles = name_and_roles(self._token["access_token"])
        if name is None:
            return Step("client", True, "the token is opaque: it tells neither name nor roles")
        told = f"with roles {', '.join(roles)}" if roles else "without any role"
        return Step("client", True, f"{name}, {told}", details={"name": name, "roles": roles})


def _details(certificate: Certificate | None) -> dict[str, Any]:
    return {"issuer": certificate.issuer, "expires": certificate.expires.isoformat()} if certificate else {}
