"""One token: the answer that brought it, and how long it is good for."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

from oauthlib.oauth2 import BackendApplicationClient

from . import clock
from .exceptions import ConfigurationError
from .token_response import LONGEST_LIFE, seconds

DEFAULT_LIFE = 60.0  # seconds
SHORTEST_LIFE = 1.0


class IssuedToken:
    """A token answer in a client of oauthlib's, and how long it is good for.

    Two clocks decide that: the monotonic one stands still while a machine is suspended, and the wall clock can be set
    back.

    Args:
        client_id: the API client's name.
        answer: of the token endpoint.
        leeway: seconds before its expiry from which it is stale.
        age: seconds since it was asked for.
    """

    def __init__(self, client_id: str, answer: Mapping[str, Any], leeway: float, age: float = 0.0) -> None:
        life = lifetime(answer.get("expires_in"))
        self.issued_at = clock.monotonic() - age
        self.expires_at = clock.time() - age + life  # by the wall clock
        self.life = life
        self.stale_below, self.unusable_below = min(leeway, life / 2), min(5.0, life / 10)  # seconds left
        answer = {**answer, "expires_in": life, "expires_at": self.expires_at}
        self.client = BackendApplicationClient(client_id, token=answer)
        self.authorization = f"Bearer {answer['access_token']}"
        self.came_of_a_refusal = False  # and no replay with it has been accepted yet

    @classmethod
    def stored(cls, client_id: str, answer: Mapping[str, Any], leeway: float) -> IssuedToken:
        """The token of a stored answer; its ``expires_at`` says how much of its life is left."""
        if answer.get("expires_at") is None:
            return cls(client_id, answer, leeway)
        expires_at = seconds(answer["expires_at"])
        left = expires_at - clock.time() if isfinite(expires_at) else 0.0
        left = left if left <= LONGEST_LIFE else 0.0  # It is in milliseconds, say.
        life = lifetime(answer.get("expires_in", left))
        # A wall clock that stepped back since must not lengthen the life.
        return cls(client_id, {**answer, "expires_in": life}, leeway, age=max(0.0, life - left))


def as_authorization(token: str) -> str:
    """The Authorization header of a token, which may be one already.

    Raises:
        ConfigurationError: it is neither.
    """
    words = token.split() if isinstance(token, str) else []
    if len(words) != 1 and [word.lower() for word in words[:-1]] != ["bearer"]:
        raise ConfigurationError("refused must be a token, or the Authorization header with one.")
    return f"Bearer {words[-1]}"


def lifetime(expires_in: object) -> float:
    """Seconds that a token lives (RFC 6749 section 5.1); 60 if the server gives none that makes sense."""
    life = seconds(expires_in) if isinstance(expires_in, str) else expires_in
    if isinstance(life, bool) or not isinstance(life, (int, float)) or not 0 < life <= LONGEST_LIFE:
        return DEFAULT_LIFE
    return max(life, SHORTEST_LIFE)
