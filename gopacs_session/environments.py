"""GOPACS's environments, and which URL belongs to which."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

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
        match = _HTTP_URL.fullmatch(self.token_url) if isinstance(self.token_url, str) else None
        if match is None or match["scheme"].lower() != "https" or not _canonical(match["host"]):
            raise ConfigurationError("token_url of an Environment must be an https:// URL.")
        if "@" in re.split("[/?#]", self.token_url)[2]:
            raise ConfigurationError("token_url of an Environment must not hold credentials.")
        if not isinstance(self.api_domains, (tuple, list)) or not self.api_domains:
            raise ConfigurationError("api_domains of an Environment must be a tuple of host names.")
        if self.ca_bundle is not None and not (isinstance(self.ca_bundle, str) and self.ca_bundle.strip()):
            raise ConfigurationError("ca_bundle of an Environment must be the path of a file or directory.")
        names = tuple(_host_name(domain) for domain in self.api_domains)
        if "" in names:
            raise ConfigurationError(f"api_domains[{names.index('')}] of an Environment is not a host name.")
        object.__setattr__(self, "api_domains", names)

    def covers(self, url: str) -> bool:
        """Whether a token of this environment may be sent to `url`: over https, to one of its own hosts."""
        match = _HTTP_URL.fullmatch(url)
        return match is not None and match["scheme"].lower() == "https" and _own(self.api_domains, match["host"])

    def owns(self, url: str) -> bool:
        """Whether the host of an http or https URL is one of this environment's.

        A host in the domains of several environments belongs to the longest domain: ``api.acc.gopacs-services.eu`` is
        acceptance's, though production has ``gopacs-services.eu``.
        """
        match = _HTTP_URL.fullmatch(url)
        return match is not None and _own(self.api_domains, match["host"])


@lru_cache(maxsize=128)  # Each request asks, and of few hosts.
def _own(api_domains: tuple[str, ...], host: str) -> bool:
    """Whether the longest domain that `host` lies in is one of these, and not another environment's."""
    name = f".{_canonical(host)}"
    own, *others = (
        max([len(domain) for domain in domains if name.endswith(f".{domain}")], default=0)
        for domains in (api_domains, *(preset.api_domains for preset in PRESETS))
    )
    return 0 < own >= max(others)


def _canonical(host: str) -> str:
    """A URL's host as domains are written; empty if it is a malformed IPv6 address."""
    return _ipv6_literal(host) if host.startswith("[") else host.lower().removesuffix(".")


def _host_name(domain: object) -> str:
    """An entry of `api_domains` as domains are written; empty if it is not a host name."""
    name = domain.lower().removesuffix(".") if isinstance(domain, str) else ""
    return name if _HOST_NAME.fullmatch(name) else _ipv6_literal(name)


def _ipv6_literal(text: str) -> str:
    """An IPv6 address, with or without brackets, in its one canonical form (RFC 5952), in brackets; empty if none."""
    from ipaddress import IPv6Address  # Here, since it takes a millisecond to import and most programs need none.

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
    # The name is not quoted: it may be a secret in the wrong place.
    raise ConfigurationError(f"Unknown environment: choose {choices}, or pass an Environment.")


def environment_of(value: object) -> Environment:
    """`value`, if it is an Environment, or the preset of that name.

    Raises:
        ConfigurationError: it is neither.
    """
    environment = preset(value) if isinstance(value, str) else value
    if not isinstance(environment, Environment):
        raise ConfigurationError("environment must be an Environment or the name of one.")
    return environment


def preset_owning(url: str) -> Environment | None:
    """The preset that the host of `url` belongs to, if any."""
    return next((candidate for candidate in PRESETS if candidate.owns(url)), None)
