"""Why does it not work? One step after the other from the configuration to the token, each with what to do about it."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from email.utils import parsedate_to_datetime
from time import perf_counter
from typing import Any

from ..environment_variables import Configuration
from ..environments import PRESETS
from ..exceptions import AuthorizationServerError, InvalidClientError, TokenRequestError
from ..session import GopacsSession
from ..token_response import json_object
from .connection import Connection
from .exit_code import ExitCode, of_error
from .route import Probe
from .step import Step
from .terminal import printable, refusal

TOLERANCE = 30  # seconds that clocks may differ
WHERE_TO_LOOK = (
    "In the GOPACS UI of {environment}, a Grid Admin finds it under Organisations > API Clients, a Trading Company "
    "Admin under API Clients. The key is shown only once: if in doubt, register another client."
)
ODD_SECRET = (
    "The secret begins or ends with white space, or holds a line break or another control character: if that is not "
    "meant, copy it again."
)


def diagnose(configure: Callable[[], Configuration]) -> Iterator[Step]:
    """Look at one thing after the other, until something is found that makes the rest pointless.

    Args:
        configure: returns the session's arguments, or raises :class:`~gopacs_session.ConfigurationError`.
    """
    try:
        configuration = configure()
        session = GopacsSession(**configuration.arguments)
        connection = Connection(session)
    except ValueError as error:  # ConfigurationError is one; so is what is wrong with the token URL's port.
        advice = "gopacs-session --help names the variables, and the options that go before them."
        yield Step("configuration", False, str(error), advice, ExitCode.CONFIGURATION)
        return
    with session:
        yield _configuration(session, configuration)
        for step in _steps(session, connection):
            yield step
            if step.passed is False and step.name != "clock":
                return


def _steps(session: GopacsSession, connection: Connection) -> Iterator[Step]:
    """Each relies on those before it, except for the clock."""
    yield from connection.steps()
    yield _clock(connection.probe)
    started = perf_counter()
    try:
        token = session.fetch_token()
    except TokenRequestError as error:
        yield _refusal(session, error)
    else:
        yield Step("credentials", True, f"accepted, in {perf_counter() - started:.2f} s")
        seconds = token["expires_in"]
        yield Step("token", True, f"lives {seconds:g} s", details={"expires_in": seconds})
        yield _client(token["access_token"])


def _configuration(session: GopacsSession, configuration: Configuration) -> Step:
    environment, sources = session.environment, configuration.sources
    found = {
        "client": str(session.client_id),
        "environment": environment.name,
        "token_url": environment.token_url,
        "api_domains": list(environment.api_domains),
    }
    text = (
        f"client {found['client']} (from {sources['client_id']})\n"
        f"secret (from {sources['client_secret']})\n"
        f"environment {found['environment']} (from {sources['environment']})"
    )
    advice = ODD_SECRET if _looks_odd(configuration.arguments["client_secret"]) else ""
    return Step("configuration", True, text, advice, details={**found, "sources": dict(sources)})


def _looks_odd(secret: str | Callable[[], str]) -> bool:
    if not isinstance(secret, str):
        try:
            secret = secret()
        except (OSError, ValueError):  # The step that asks for a token tells it.
            return False
    return secret != secret.strip() or not secret.isprintable()


def _clock(probe: Probe) -> Step:
    try:
        # Half a second, since the header has whole ones.
        server_time = parsedate_to_datetime(probe.date or "").timestamp() + 0.5
    except (ValueError, OverflowError):
        return Step("clock", None, "the server sends no Date to compare it with")
    skew = (probe.sent + probe.received) / 2 - server_time
    details = {"seconds_ahead": round(skew, 1)}
    if abs(skew) <= TOLERANCE:
        return Step("clock", True, "agrees with the server's", details=details)
    text = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
    advice = "Set this machine's clock (NTP): certificates, stored tokens and messages are judged by their times."
    return Step("clock", False, text, advice, ExitCode.CONFIGURATION, details)


def _refusal(session: GopacsSession, error: TokenRequestError) -> Step:
    details = {"status": error.status_code, "error": error.error, "description": error.description}
    return Step("credentials", False, refusal(error), _advice(session, error), of_error(error), details)


def _advice(session: GopacsSession, error: TokenRequestError) -> str:
    if isinstance(error, InvalidClientError) and replace(session.environment, ca_bundle=None) in PRESETS:
        return WHERE_TO_LOOK.format(environment=session.environment.name)
    if isinstance(error, AuthorizationServerError):
        return "This may pass: try again in some minutes."
    if isinstance(error, InvalidClientError) or error.status_code is None:
        return ""
    if error.error and error.status_code not in (404, 405):  # Keycloak says those in JSON, too.
        return "The server refuses this client: ask who administers it whether it is enabled, and what it may do."
    return "Check that GOPACS_TOKEN_URL is a token endpoint, and that no proxy answers in its place."


def _client(token: str) -> Step:
    name, roles = name_and_roles(token)
    if name is None:
        return Step("client", True, "the token is opaque: it tells neither name nor roles")
    told = f"with roles {', '.join(roles)}" if roles else "without any role"
    return Step("client", True, printable(f"{name}, {told}"), details={"name": name, "roles": roles})


def name_and_roles(token: str) -> tuple[str | None, list[str]]:
    """The client's name, and its roles in Keycloak's way; no name if the token is opaque. Decoded, not verified.

    Args:
        token: a JWT (RFC 7519), or any other text.
    """
    payload = token.partition(".")[2].partition(".")[0]
    try:
        claims = json_object(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        claims = {}
    names = [claims[name] for name in ("azp", "client_id", "preferred_username") if isinstance(claims.get(name), str)]
    return (names[0], _roles(claims)) if names else (None, [])


def _roles(claims: Mapping[str, Any]) -> list[str]:
    """Realm roles as they are, and those of a client with its name before them."""
    groups = {"": claims.get("realm_access")}
    resources = claims.get("resource_access")
    if isinstance(resources, dict):
        groups |= {f"{client}:": access for client, access in resources.items()}
    return sorted(
        f"{prefix}{role}"
        for prefix, access in groups.items()
        if isinstance(access, dict) and isinstance(access.get("roles"), list)
        for role in access["roles"]
        if isinstance(role, str)
    )
