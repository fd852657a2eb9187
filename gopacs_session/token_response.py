"""What an answer of the token endpoint means (RFC 6749 section 5), however malformed it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timezone
from email.utils import parsedate_to_datetime
from itertools import product
from typing import Any
from urllib.parse import quote, quote_plus

from . import clock
from .exceptions import AuthorizationServerError, InvalidClientError, TokenRequestError

DEEPEST = 20  # levels of JSON: a session is pickled and copied with its token, and these fail at fewer levels than json
LONGEST_LIFE = 366 * 24 * 3600.0


def verdict(status: int, answer: dict[str, Any]) -> tuple[type[TokenRequestError], str] | None:
    """What is wrong with an answer of the token endpoint; None if it brings a token."""
    error = answer.get("error")
    if status in (408, 425, 429) or status >= 500:
        return AuthorizationServerError, f"the authorization server answered {status}; try again later."
    # 401 is for the client's authentication (RFC 6749 section 5.2), also where Keycloak disabled its service account.
    refused = error in ("invalid_client", "unauthorized_client")
    if refused or (status == 401 and error):
        return InvalidClientError, (
            f"the authorization server refused the client ({status} {error if refused else 'see error'}). "
            "Check client id and secret, and that they belong to this environment."
        )
    if 300 <= status < 400:
        return TokenRequestError, f"the token endpoint redirects ({status}); redirects are not followed with a secret."
    if status != 200 or error:
        return TokenRequestError, f"the authorization server refused the request ({status}); see error and description."
    if not bears_token(answer):
        return TokenRequestError, "the authorization server answered 200 without a usable bearer token."
    return None


def bears_token(answer: Mapping[str, Any]) -> bool:
    """Whether it holds a bearer token (in any case, section 5.1) of visible ASCII (appendix A.12), fit for a header."""
    token, kind = answer.get("access_token"), answer.get("token_type", "Bearer")
    visible = isinstance(token, str) and token.isascii() and token.isprintable() and token.strip() == token != ""
    return visible and isinstance(kind, str) and kind.lower() == "bearer"


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in `body`; empty if it holds anything else, however malformed or deeply nested."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    level: list[Any] = [value] if isinstance(value, dict) else []
    for _ in range(DEEPEST):
        if not level:
            return value if isinstance(value, dict) else {}
        values = [part.values() if isinstance(part, dict) else part for part in level]
        level = [child for children in values for child in children if isinstance(child, (dict, list))]
    return {}


def quotable(text: object, secret: str) -> str | None:
    """A server's words in a form fit for an exception: one short printable line, without an echo of the secret."""
    if not isinstance(text, str):
        return None
    text = _printable(text)
    for form in sorted({_printable(form).strip() for form in _forms(secret)} - {""}, key=len, reverse=True):
        text = re.sub(re.escape(form), "***", text, flags=re.IGNORECASE)
    return text[:200]


def _forms(secret: str) -> list[str]:
    """How software may have rewritten a secret: in a form, in HTML, in JSON, in a repr, in bytes read as Latin-1."""
    octets = secret.encode()
    quoted = [quote(secret), quote(secret, safe=""), quote_plus(secret)]
    escaped = secret.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    marks = product(("'", "&#39;", "&#x27;", "&apos;"), ('"', "&quot;", "&#34;"))
    marked_up = [escaped.replace("'", single).replace('"', double) for single, double in marks]
    literal = [json.dumps(secret)[1:-1], repr(secret)[1:-1], repr(octets)[2:-1]]
    return [secret, octets.decode("latin-1"), *quoted, *marked_up, *literal]


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable())


def retry_after_seconds(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for, given as a number or as a date (RFC 9110 section 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return min(seconds(value), LONGEST_LIFE)
    try:
        # As UTC, whatever it says: HTTP knows no other. Without a zone, Windows raises OSError for early dates.
        date = parsedate_to_datetime(value).replace(tzinfo=timezone.utc)
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, date.timestamp() - clock.time()), LONGEST_LIFE)


def seconds(value: object) -> float:
    """`value` as a number of seconds; 0 if it is none."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return 0
    return int(number) if number.is_integer() else number
