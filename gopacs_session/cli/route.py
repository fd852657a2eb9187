"""How requests gets to a URL: the proxy, the CA bundle, and the certificate that is met there."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from time import time
from typing import Any

import requests
from requests.utils import DEFAULT_CA_BUNDLE_PATH, prepend_scheme_if_needed, select_proxy
from urllib3.util import Url, parse_url

from .. import environment_variables
from ..exceptions import ConfigurationError
from ..session import GopacsSession

TIMEOUT = 10  # seconds
PROXY_SCHEMES = ("http", "https", "socks4", "socks4a", "socks5", "socks5h")
BAD_PROXY = (
    "The proxy's URL (HTTPS_PROXY or ALL_PROXY) is malformed. It looks like http://user:password@proxy.example:8080, "
    "with everything but letters and digits percent-encoded in user and password: %2F for a slash, %40 for an @."
)


def proxy_of(url: str, proxies: Mapping[str, str]) -> Url | None:
    """The proxy that requests takes to a URL, without its credentials; None if it takes none.

    Raises:
        ConfigurationError: the proxy's URL is malformed. It is not quoted, as it may hold a password.
    """
    proxy = select_proxy(url, dict(proxies))
    if not proxy:
        return None
    try:
        parsed = parse_url(prepend_scheme_if_needed(proxy, "http"))
    except (TypeError, ValueError):  # requests itself stumbles over a user without a host.
        parsed = Url()
    # An @ after the host: what was taken for the host is the user, and the password has a slash in it.
    if parsed.scheme not in PROXY_SCHEMES or not parsed.host or "@" in f"{parsed.request_uri}{parsed.fragment}":
        raise ConfigurationError(BAD_PROXY)
    return Url(scheme=parsed.scheme, host=parsed.host, port=parsed.port)


@dataclass(frozen=True)
class Route:
    """How requests gets to a URL.

    Attributes:
        settings: stream, proxies, verify and cert, for :meth:`requests.Session.send`.
        proxy: without credentials; None if there is none.
        ca_bundle: path of a file or directory.
        ca_source: who named that path; None if nobody did, and it is the one that requests brings.
    """

    settings: Mapping[str, Any] = field(repr=False)
    proxy: Url | None
    ca_bundle: str
    ca_source: str | None

    @classmethod
    def to(cls, url: str, session: GopacsSession) -> Route:
        """The route that `session` takes to `url`.

        Raises:
            ConfigurationError: the proxy's URL is malformed.
        """
        settings = session.merge_environment_settings(url, {}, True, None, None)
        names = [name for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE") if os.environ.get(name)]
        if session.environment.ca_bundle:
            names.insert(0, environment_variables.CA_BUNDLE)
        return cls(
            settings=dict(settings),
            proxy=proxy_of(url, settings["proxies"]),
            ca_bundle=DEFAULT_CA_BUNDLE_PATH if settings["verify"] is True else settings["verify"],
            ca_source=names[0] if names else None,
        )

    @property
    def resolves_names(self) -> bool:
        """Whether it is this machine that looks up the host's address, and not a proxy."""
        return self.proxy is None or self.proxy.scheme in ("socks4", "socks5")

    def ca_fault(self) -> str | None:
        """What is wrong with the CA bundle."""
        option = "capath" if os.path.isdir(self.ca_bundle) else "cafile"
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**{option: self.ca_bundle})
        except ssl.SSLError:
            return "holds no certificate"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return None


@dataclass(frozen=True)
class Probe:
    """What a request met.

    Attributes:
        protocol: such as ``"TLSv1.3"``; None if the connection was closed before it could be asked.
        certificate: the server's, as :meth:`ssl.SSLSocket.getpeercert` tells it; empty in the same case.
        date: the answer's Date header (RFC 9110 section 6.6.1).
        sent, received: seconds since the epoch, by this machine's clock.
    """

    protocol: str | None
    certificate: Mapping[str, Any]
    date: str | None
    sent: float
    received: float


def probe(session: requests.Session, url: str, route: Route) -> Probe:
    """Send a GET without any credentials, which a token endpoint refuses.

    Raises:
        requests.RequestException: it could not be sent, or was not answered.
    """
    request = requests.Request("GET", url, headers={"Accept": "application/json"}).prepare()
    sent = time()
    with session.send(request, timeout=TIMEOUT, allow_redirects=False, **route.settings) as response:
        received = time()
        tls = getattr(response.raw.connection, "sock", None)
        protocol, certificate = (tls.version(), tls.getpeercert()) if tls else (None, {})
        return Probe(protocol, certificate, response.headers.get("Date"), sent, received)


def issuer(certificate: Mapping[str, Any]) -> str:
    """Common name and organization of who signed a certificate that :meth:`ssl.SSLSocket.getpeercert` told."""
    names = dict(pair for part in certificate["issuer"] for pair in part)
    return _called(names.get(kind) for kind in ("commonName", "organizationName"))


def untrusted_issuer(host: str, port: int, proxy: Url | None = None) -> str | None:
    """Who signed the certificate of a server that is not trusted; None if that cannot be learnt.

    The ssl module tells it only of trusted ones, so this needs cryptography. The handshake that asks for it trusts
    anybody: nothing is ever sent over that connection, nor credentials to the proxy that leads to it.
    """
    try:
        from cryptography import x509
    except ImportError:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    if proxy:
        connection = http.client.HTTPConnection(str(proxy.host).strip("[]"), proxy.port or 80, timeout=TIMEOUT)
        connection.set_tunnel(host, port)
    try:
        with closing(connection):
            connection.connect()
            with context.wrap_socket(connection.sock, server_hostname=host) as tls:
                name = x509.load_der_x509_certificate(tls.getpeercert(True) or b"").issuer
    except (OSError, http.client.HTTPException, ValueError):
        return None
    kinds = (x509.NameOID.COMMON_NAME, x509.NameOID.ORGANIZATION_NAME)
    return _called(str(attribute.value) for kind in kinds for attribute in name.get_attributes_for_oid(kind)[:1])


def _called(names: Iterable[str | None]) -> str:
    return ", ".join(name for name in names if name) or "nobody"
