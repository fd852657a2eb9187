"""GOPACS's environments, and which URL belongs to which."""

import re
from dataclasses import dataclass
from functools import lru_cache

from .exceptions import ConfigurationError

# Stricter than any URL parser, so that no two can disagree about the host: a backslash, a control character, white
# space or a percent-encoded host matches nothing. Greedy user-info ends at the last "@", as in RFC 3986.
_HTTP_URL = re.compile(
    r"(?P<scheme>https?)://(?P<user>[^\\/?#\s\x00-\x20]*@)?(?P<host>[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]*)?(?:[/?#].*)?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)
_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]", re.ASCII)


@dataclass(frozen=True)
class Environment:
    """An authorization server, the API hosts that trust its tokens, and who may issue certificates for all of them.

    Args:
        name: what messages and logs call it.
        token_url: the ``https://`` URL of the token endpoint (RFC 6749 section 3.2).
        api_domains: host names; each stands for itself and every host below it, but a name without a dot and an IP
            address for themselves alone.
        ca_bundle: path of a file or directory with the CA certificates to trust for these hosts; None for those that
            requests trusts.

    A field that is empty or malformed is a :class:`ConfigurationError`.
    """

    name: str
    token_url: str
    api_domains: tuple[str, ...]
    ca_bundle: str | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.strip()):
            raise ConfigurationError("An Environment needs a name.")
        match = _HTTP_URL.fullmatch(self.token_url) if isinstance(self.token_url, str) else None
        if match is None or match["scheme"].lower() != "https" or match["user"]:
            raise ConfigurationError("token_url of an Environment must be an https:// URL without credentials.")
        if self.ca_bundle is not None and not (isinstance(self.ca_bundle, str) and self.ca_bundle.strip()):
            raise ConfigurationError("ca_bundle of an Environment must be the path of a file or directory.")
        domains = self.api_domains if isinstance(self.api_domains, (tuple, list)) else ()
        names = tuple(domain.lower().removesuffix(".") if isinstance(domain, str) else "" for domain in domains)
        if not (names and all(map(_HOST_NAME.fullmatch, names))):
            raise ConfigurationError("api_domains of an Environment must be a tuple of host names.")
        object.__setattr__(self, "api_domains", names)

    def covers(self, url: str) -> bool:
        """Whether a token of this environment may be sent to `url`: over https, to one of its own hosts."""
        return url[:6].lower() == "https:" and self.owns(url)

    def owns(self, url: str) -> bool:
        """Whether the host of an http or https URL is one of this environment's."""
        match = _HTTP_URL.fullmatch(url)
        return match is not None and _own(self.api_domains, match["host"])


@lru_cache(maxsize=128)  # Each request asks, and of few hosts.
def _own(api_domains: tuple[str, ...], host: str) -> bool:
    """Whether these domains have `host`, and no preset by a longer one: acc.gopacs-services.eu is acceptance's."""
    host = host.lower().removesuffix(".")
    own, *others = (
        max(len(domain) if host == domain or host.endswith(_below(domain)) else 0 for domain in domains)
        for domains in (api_domains, *(preset.api_domains for preset in PRESETS))
    )
    return 0 < own >= max(others)


def _below(domain: str) -> tuple[str, ...]:
    """How the hosts below it end, if it has any: an IPv4 address, whose last label has digits only, has none."""
    return (f".{domain}",) if "." in domain and not domain.rpartition(".")[2].isdigit() else ()


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


def environment_of(value: object) -> Environment:
    """`value`, if it is an Environment, or the preset of that name, in any case."""
    if isinstance(value, Environment):
        return value
    name = value.strip().lower() if isinstance(value, str) else None
    for preset in PRESETS:
        if preset.name == name:
            return preset
    choices = ", ".join(repr(preset.name) for preset in PRESETS)
    # The value is not quoted: it may be a secret in the wrong place.
    raise ConfigurationError(f"Unknown environment: it is {choices}, or an Environment of your own.")
