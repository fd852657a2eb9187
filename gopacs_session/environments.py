"""GOPACS's environments, and which URL belongs to which."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from .exceptions import ConfigurationError

# Stricter than any URL parser, so that no two of them can disagree about the host: a backslash, a control character,
# white space or a percent-encoded host matches nothing. Greedy user-info ends at the last "@", as in RFC 3986.
_HTTP_URL = re.compile(
    r"(?P<scheme>https?)://(?:[^\\/?#\s\x00-\x20]*@)?(?P<host>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?(?:[/?#].*)?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)


@dataclass(frozen=True)
class Environment:
    """An authorization server, the API hosts that trust its tokens, and who may issue certificates for all of them.

    Args:
        name: what messages and logs call it.
        token_url: the ``https://`` URL of the token endpoint (RFC 6749 section 3.2).
        api_domains: host names; each stands for itself and every host below it. An IP address stands for itself.
        ca_bundle: path of a file or directory with the CA certificates to trust for these hosts, as ``verify`` of
            requests takes it; None for those that requests trusts.

    Raises:
        ConfigurationError: a field is empty or malformed.
    """

    name: str
    token_url: str
    api_domains: tuple[str, ...]
    ca_bundle: str | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.strip()):
            raise ConfigurationError("An Environment needs a name.")
        if not isinstance(self.token_url, str) or _scheme_and_host(self.token_url)[0] != "https":
            raise ConfigurationError(f"Environment {self.name!r}: token_url must be an https:// URL.")
        if "@" in re.split("[/?#]", self.token_url)[2]:
            raise ConfigurationError(f"Environment {self.name!r}: token_url must not hold credentials.")
        if not isinstance(self.api_domains, (tuple, list)) or not self.api_domains:
            raise ConfigurationError(f"Environment {self.name!r}: api_domains must be a tuple of host names.")
        if self.ca_bundle is not None and not (isinstance(self.ca_bundle, str) and self.ca_bundle.strip()):
            raise ConfigurationError(f"Environment {self.name!r}: ca_bundle must be the path of a file or directory.")
        object.__setattr__(self, "api_domains", tuple(self._host_name(domain) for domain in self.api_domains))

    def _host_name(self, domain: object) -> str:
        name = domain.lower().removesuffix(".") if isinstance(domain, str) else ""
        if not _HOST_NAME.fullmatch(name):
            name = _ipv6_literal(name)
        if not name:
            raise ConfigurationError(f"Environment {self.name!r}: {domain!r} in api_domains is not a host name.")
        return name

    def covers(self, url: str) -> bool:
        """Whether a token of this environment may be sent to `url`: over https, to one of its own hosts."""
        scheme, host = _scheme_and_host(url)
        return scheme == "https" and _own(self.api_domains, host)

    def serves(self, url: str) -> bool:
        """Whether the host of an http or https URL is one of this environment's, the authorization server included."""
        return self.owns(url) or _scheme_and_host(url)[1] == _scheme_and_host(self.token_url)[1]

    def owns(self, url: str) -> bool:
        """Whether the host of an http or https URL is one of this environment's.

        A host in the domains of several environments belongs to the longest domain: ``api.acc.gopacs-services.eu`` is
        acceptance's, though production has ``gopacs-services.eu``.
        """
        return _own(self.api_domains, _scheme_and_host(url)[1])


@lru_cache(maxsize=128)  # Each request asks, and of few hosts.
def _own(api_domains: tuple[str, ...], host: str) -> bool:
    depth = _depth(api_domains, host)
    return depth > 0 and all(depth >= _depth(other.api_domains, host) for other in PRESETS)


def _depth(api_domains: tuple[str, ...], host: str) -> int:
    """Length of the longest of these domains that `host` lies in; 0 if it lies in none."""
    return max([len(domain) for domain in api_domains if f".{host}".endswith(f".{domain}")], default=0)


def _scheme_and_host(url: str) -> tuple[str, str]:
    """Lower-case scheme and host of an http(s) URL, without a trailing dot; two empty strings for any other text."""
    match = _HTTP_URL.fullmatch(url)
    host = match["host"].lower().removesuffix(".") if match else ""
    if host.startswith("["):
        host = _ipv6_literal(host)
    return (match["scheme"].lower(), host) if match and host else ("", "")


def _ipv6_literal(text: str) -> str:
    """An IPv6 address, with or without brackets, in its one canonical form (RFC 5952), in brackets; empty if none."""
    try:
        address = IPv6Address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return ""
    return "" if address.scope_id else f"[{address.compressed}]"


ACCEPTANCE = Environment(
    name="acceptance",
    token_url="https://auth.acc.gopacs-services.eu/realms/gopacs/protocol/openid-connect/token",
    api_domains=("acc.gopacs-services.eu",),
)
PRODUCTION = Environment(
    name="production",
    token_url="https://auth.gopacs-services.eu/realms/gopacs/protocol/openid-connect/token",
    api_domains=("gopacs-services.eu",),
)
PRESETS = (ACCEPTANCE, PRODUCTION)


def preset(name: str) -> Environment:
    """The preset called `name`, in any case; :class:`ConfigurationError` names the choices if there is none."""
    for candidate in PRESETS:
        if candidate.name == name.strip().lower():
            return candidate
    choices = ", ".join(repr(candidate.name) for candidate in PRESETS)
    raise ConfigurationError(f"Unknown environment {name!r}: choose {choices}, or pass an Environment.")


def preset_owning(url: str) -> Environment | None:
    """The preset that the host of `url` belongs to, if any."""
    return next((candidate for candidate in PRESETS if candidate.owns(url)), None)
