"""What users write: never run, but ``mypy --strict`` and pyright must accept it against the installed package."""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Callable, Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import assert_type

from gopacs_session import (
    ACCEPTANCE,
    PRODUCTION,
    AuthorizationServerError,
    ConfigurationError,
    Environment,
    GopacsAuth,
    GopacsSession,
    GopacsSessionError,
    InvalidClientError,
    TokenRequestError,
    WrongEnvironmentError,
)
from gopacs_session.sandbox import Sandbox

URL = "https://api.gopacs-services.eu/messages"


def every_option(read_vault: Callable[[], str], store: Callable[[dict[str, Any]], None]) -> None:
    assert_type(GopacsSession.from_env({"GOPACS_CLIENT_ID": "trader"}, leeway=30), GopacsSession)
    GopacsSession("trader", "s3cret", environment="acceptance", token_timeout=(3.05, 10), timeout=None)
    GopacsSession(client_id="trader", client_secret=read_vault, environment=PRODUCTION, scope=["read"], leeway=30)
    GopacsAuth("trader", "s3cret", ACCEPTANCE, token_timeout=5, token_updater=store, session=requests.Session())


def in_place_of_requests_session(session: GopacsSession) -> None:
    plain: requests.Session = session
    assert_type(plain.get(URL, params={"since": "today"}), requests.Response)
    session.mount("https://", HTTPAdapter(pool_maxsize=32))
    session.verify = "/etc/ssl/own-ca.pem"
    session.proxies = {"https": "http://proxy.example:3128"}


def every_way_to_send(session: GopacsSession) -> None:
    response: requests.Response = session.get(URL)
    response = session.post(URL, json={"offer": 1}, timeout=(3.05, 10))
    response.raise_for_status()
    assert_type(session.request("PUT", URL, {"since": "today"}, b"<xml/>", {"Accept": "text/xml"}), requests.Response)
    session.request("GET", URL, stream=True, allow_redirects=False, withhold_token=True)
    with open("offer.xml", "rb") as offer:
        session.put(URL, data=offer)
        session.post(URL, files={"offer": ("offer.xml", offer, "text/xml")})
    assert_type(session.send(session.prepare_request(requests.Request("GET", URL))), requests.Response)


def what_it_has(session: GopacsSession, stored: Mapping[str, Any]) -> None:
    assert_type(session.fetch_token(), dict[str, Any])
    assert_type(session.fetch_token(refused="Bearer t0ken"), dict[str, Any])
    assert_type(session.token, dict[str, Any])
    assert_type(session.access_token, str | None)
    authorized: bool = session.authorized
    assert authorized
    assert_type(session.environment, Environment)
    assert_type(session.client_id, str)
    assert_type(session.auth_header, Mapping[str, str])
    assert_type(session.timeout, float | tuple[float | None, float | None] | None)
    session.timeout = (3.05, None)
    session.token = stored
    with session.ensure_authenticated():
        pass


def an_auth_object(auth: GopacsAuth, stored: Mapping[str, Any]) -> None:
    requests.get(URL, auth=auth, timeout=10)
    with requests.Session() as session:
        session.auth = GopacsAuth.from_env(leeway=30)
    assert_type(auth.fetch_token(refused="t0ken"), dict[str, Any])
    assert_type(auth.auth_header, Mapping[str, str])
    assert_type(auth.environment, Environment)
    auth.token = stored


def an_environment_of_ones_own() -> None:
    own = Environment("own", "https://auth.example.com/token", ("api.example.com",))
    assert_type(own.covers(URL), bool)


def what_can_go_wrong(session: GopacsSession) -> str | None:
    try:
        session.get(URL)
    except InvalidClientError as error:
        return error.description
    except AuthorizationServerError as error:
        assert_type(error.retry_after, float | None)
    except TokenRequestError as error:
        assert_type(error.status_code, int | None)
        return error.error
    except WrongEnvironmentError as error:
        as_both: tuple[ConfigurationError, ValueError] = (error, error)
        return str(as_both)
    except GopacsSessionError:
        raise
    return None


def a_test_against_the_sandbox() -> None:
    with Sandbox() as sandbox:
        session = assert_type(sandbox.session(leeway=0), GopacsSession)
        session.get(f"{sandbox.api_url}/messages").raise_for_status()
        assert_type(sandbox.environment, Environment)
        assert_type(sandbox.ca_file, str)


def what_is_an_error(session: GopacsSession, auth: GopacsAuth) -> None:
    """Each suppression is needed, or the checker says that it is not."""
    session.fetch_token(URL)  # type: ignore[call-arg]
    session.environment = PRODUCTION  # type: ignore[misc]
    auth.environment = PRODUCTION  # type: ignore[misc]
    auth.leeway = 30  # type: ignore[attr-defined]
