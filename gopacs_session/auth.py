"""Which request bears the token: at its start, on a redirect, and after the API refused one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import perf_counter
from typing import Any

from oauthlib.oauth2 import InsecureTransportError
from requests import PreparedRequest, Response, sessions
from requests.adapters import BaseAdapter
from requests.auth import AuthBase
from requests.exceptions import RequestException, UnrewindableBodyError
from requests.utils import rewind_body

from .authorization import bears_token
from .environments import Environment, preset_owning
from .exceptions import WrongEnvironmentError
from .tokens import Token


class PlainAuth(AuthBase):
    """What requests does where no auth is given: netrc's credentials, or else those in the URL."""

    def __init__(self, trust_env: bool) -> None:
        self._trust_env = trust_env

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        # By the name that requests.Session looks up, for those who replace it there.
        netrc_auth = sessions.get_netrc_auth  # type: ignore[attr-defined]
        request.prepare_auth(netrc_auth(str(request.url)) if self._trust_env else None)
        return request


class TokenAuth(AuthBase):
    """Puts the token on requests to an environment's hosts, and answers a 401 to it with another token.

    Args:
        environment: whose hosts may see the token.
        get_token: returns a usable token; other than the refused one, if it is given an Authorization.
        get_adapter: returns the adapter for a URL.
        trust_env: whether requests to other hosts may use netrc.
    """

    def __init__(
        self,
        environment: Environment,
        get_token: Callable[[str | None], Token],
        get_adapter: Callable[[str], BaseAdapter],
        trust_env: bool,
    ) -> None:
        self._environment = environment
        self._get_token = get_token
        self._get_adapter = get_adapter
        self._trust_env = trust_env

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        if not self._may_bear_token(request.url):
            return PlainAuth(self._trust_env)(request)
        self._put_token(request)
        # Hooks of an auth run before the user's: those see the final answer only.
        request.register_hook("response", _Replay(self))
        return request

    def follow_redirect(self, request: PreparedRequest) -> None:
        """Keep the token on a redirected request, or drop it for good once it leaves the environment."""
        if self._environment.covers(str(request.url)) and bears_token(request):
            self._put_token(request)
        else:
            # Nor are netrc's credentials put in its place: a redirect is no reason to log in elsewhere.
            request.headers.pop("Authorization", None)
            self._refuse_other_environments(str(request.url))

    def replay(self, response: Response, **send_options: Any) -> Response:
        """The answer to the same request with another token, if the body can be sent again."""
        request = response.request.copy()
        # Before the renewal: requests-mock takes its adapter back after any nested send.
        adapter = self._get_adapter(str(request.url))
        replayable, stream = _rewind(request), send_options.get("stream")
        if replayable:
            _release(response, read=not stream)
        elif not stream:
            response.content  # noqa: B018 - the caller wants it read, and its connection back in the pool
        try:
            token = self._get_token(str(request.headers["Authorization"]))
        except BaseException:
            response.close()  # The caller never sees it: where it is streamed, its connection would be lost.
            raise
        if not replayable:
            return response
        request.headers["Authorization"] = token.authorization
        started = perf_counter()
        replayed = adapter.send(request, **send_options)
        replayed.elapsed = timedelta(seconds=perf_counter() - started)
        replayed.history.append(response)
        return replayed

    def _may_bear_token(self, url: Any) -> bool:
        """Whether this URL is our environment's; False for hosts that are none of GOPACS's."""
        if self._environment.covers(url):
            return True
        if self._environment.owns(url):
            raise InsecureTransportError
        self._refuse_other_environments(url)
        return False

    def _refuse_other_environments(self, url: str) -> None:
        other = preset_owning(url)
        if other is not None and not self._environment.owns(url):
            raise WrongEnvironmentError(
                f"This session is of {self._environment.name}, but the URL is of {other.name}: nothing was sent to it. "
                f"Use a session of {other.name}, or withhold_token=True."
            )

    def _put_token(self, request: PreparedRequest) -> None:
        request.headers["Authorization"] = self._get_token(None).authorization
        if request.headers.get("Accept") == "*/*":
            request.headers["Accept"] = "application/json"  # GOPACS's manual asks for it.


class _Replay:
    """The response hook of a request that bears a token."""

    def __init__(self, auth: TokenAuth | None = None) -> None:
        self._auth = auth

    def __call__(self, response: Response, **send_options: Any) -> Response:
        # requests-cache calls the hooks once more: here only the answer to a replay has a history.
        refused = response.status_code == 401 and not response.history
        if self._auth and refused and bears_token(response.request):
            return self._auth.replay(response, **send_options)
        return response

    def __deepcopy__(self, memo: dict[int, Any]) -> _Replay:
        return self  # A copy of the request is to be replayed, too.

    def __reduce__(self) -> tuple[type[_Replay], tuple[()]]:
        # Hooks hang on each response: one that is pickled must not take the session and its secret along.
        return _Replay, ()


def has_token_auth(request: PreparedRequest) -> bool:
    """Whether a session of ours prepared this request to bear its token, even if it has lost it on a redirect.

    Not if the caller has put another Authorization in its place.
    """
    ours = "Authorization" not in request.headers or bears_token(request)
    return ours and any(isinstance(hook, _Replay) for hook in request.hooks.get("response", ()))


def _rewind(request: PreparedRequest) -> bool:
    """Set the body back to where it stood when it was first sent; False if it can't be."""
    if request.body is None:  # A redirect drops the body, but not where it stood.
        return True
    if request._body_position is None:
        return isinstance(request.body, (str, bytes, bytearray))
    try:
        rewind_body(request)
    except (UnrewindableBodyError, ValueError):  # ValueError: the file was closed meanwhile.
        return False
    return True


def _release(response: Response, *, read: bool) -> None:
    """Give the connection back to its pool; `read` as much of the body first as a refusal may sensibly have."""
    if read:
        with suppress(RequestException, RuntimeError, ValueError):  # Whatever is wrong with it, another one is to come.
            response._content = next(response.iter_content(65536), b"")
    response.close()
