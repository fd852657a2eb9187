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


def the_shortest_script() -> None:
    with GopacsSession("trader", "s3cret") as session:
        response = session.get(URL)
        assert_type(response, requests.Response)
        response.raise_for_status()


def every_option(read_vault: Callable[[], str], store: Callable[[dict[str, Any]], None]) -> None:
    GopacsSession("trader", "s3cret", ACCEPTANCE)
    assert_type(GopacsSession.from_env({"GOPACS_CLIENT_ID": "trader"}, leeway=30), GopacsSession)
    GopacsSession("trader", "s3cret", environment="acceptance")
    GopacsSession(
        client_id="trader",
        client_secret=read_vault,
        environment=PRODUCTION,
        scope=["read", "write"],
        leeway=30,
        token_timeout=(3.05, 10),
        timeout=None,
        token_updater=store,
    )


def in_place_of_requests_session(session: GopacsSession) -> None:
    def poll(session: requests.Session) -> int:
        return session.get(URL, params={"since": "today"}).status_code

    poll(session)
    session.mount("https://", HTTPAdapter(pool_maxsize=32))
    session.headers["User-Agent"] = "trader/1.0"
    session.verify = "/etc/ssl/own-ca.pem"
    session.proxies = {"https": "http://proxy.example:3128"}


def every_way_to_send(session: GopacsSession) -> None:
    assert_type(session.post(URL, json={"offer": 1}), requests.Response)
    assert_type(session.request("PUT", URL, {"since": "today"}, b"<xml/>", {"Accept": "text/xml"}), requests.Response)
    session.request("GET", URL, timeout=(3.05, 10), stream=True, allow_redirects=False)
    session.request("GET", "https://example.com/", withhold_token=True)
    assert_type(session.get(URL, {"since": "today"}, withhold_token=True), requests.Response)
    assert_type(session.post(URL, b"<xml/>", withhold_token=True, timeout=3), requests.Response)
    assert_type(session.put(URL, "<xml/>", withhold_token=True), requests.Response)
    assert_type(session.patch(URL, json={"offer": 1}, withhold_token=True), requests.Response)
    assert_type(session.delete(URL, withhold_token=True), requests.Response)
    assert_type(session.head(URL, withhold_token=True), requests.Response)
    assert_type(session.options(URL, withhold_token=True), requests.Response)
    with open("offer.xml", "rb") as offer:
        session.put(URL, data=offer)
        session.post(URL, files={"offer": ("offer.xml", offer, "text/xml")})
    assert_type(session.send(session.prepare_request(requests.Request("GET", URL))), requests.Response)


def the_token(session: GopacsSession, stored: Mapping[str, Any]) -> None:
    assert_type(session.fetch_token(), dict[str, Any])
    assert_type(session.fetch_token(refused="Bearer t0ken"), dict[str, Any])
    assert_type(session.token, dict[str, Any])
    assert_type(session.access_token, str | None)
    assert_type(session.authorized, bool)
    assert_type(session.environment, Environment)
    assert_type(session.auth_header, dict[str, str])
    session.token = {"access_token": "t0ken", "expires_in": 300}
    session.token = stored
    with session.ensure_authenticated():
        pass


def the_settings(session: GopacsSession, store: Callable[[dict[str, Any]], None]) -> None:
    assert_type(session.client_id, str)
    assert_type(session.leeway, float)
    assert_type(session.scope, str | list[str] | tuple[str, ...] | set[str] | None)
    assert_type(session.timeout, float | tuple[float | None, float | None] | None)
    assert_type(session.token_timeout, float | tuple[float, float])
    session.leeway, session.timeout, session.token_timeout = 30, (3.05, None), 5
    session.scope, session.token_updater = ["read"], store


def an_auth_object(store: Callable[[dict[str, Any]], None], stored: Mapping[str, Any]) -> None:
    auth = GopacsAuth("trader", "s3cret", ACCEPTANCE, scope="read", leeway=30, token_timeout=5, token_updater=store)
    requests.get(URL, auth=auth, timeout=10)
    with requests.Session() as session:
        session.auth = GopacsAuth.from_env(leeway=30)
    assert_type(auth.fetch_token(refused="t0ken"), dict[str, Any])
    assert_type(auth.token, dict[str, Any])
    assert_type(auth.auth_header, dict[str, str])
    assert_type(auth.environment, Environment)
    auth.token = stored


def an_environment_of_ones_own() -> None:
    own = Environment("own", "https://auth.example.com/token", ("api.example.com",))
    assert_type(own.name, str)
    assert_type(own.token_url, str)
    assert_type(own.api_domains, tuple[str, ...])
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
    except requests.exceptions.RequestException as error:
        assert_type(error.response, requests.Response | None)
    except WrongEnvironmentError as error:
        as_configuration: ConfigurationError = error
        as_value_error: ValueError = as_configuration
        return str(as_value_error)
    except GopacsSessionError:
        raise
    return None


def a_test_against_the_sandbox() -> None:
    with Sandbox() as sandbox, sandbox.session(leeway=0) as session:
        assert_type(session, GopacsSession)
        assert_type(sandbox.environment, Environment)
        session.get(f"{sandbox.api_url}/messages").raise_for_status()
        requests.get(sandbox.api_url, verify=str(sandbox.ca_file), timeout=10)
        GopacsSession(sandbox.client_id, sandbox.client_secret, sandbox.environment)


class Traders(GopacsSession):
    """A subclass of one's own."""

    def messages(self) -> list[str]:
        answer: list[str] = self.get(URL).json()
        return answer


def what_is_an_error(session: GopacsSession, auth: GopacsAuth) -> None:
    """Each suppression is needed, or the checker says that it is not."""
    session.gett(URL)  # type: ignore[attr-defined]
    session.get(URL, withhold_tokens=True)  # type: ignore[call-arg]
    session.fetch_token(URL)  # type: ignore[call-arg]
    session.environment = PRODUCTION  # type: ignore[assignment]
    auth.environment = PRODUCTION  # type: ignore[misc]
    session.authorization_url(URL)  # type: ignore[attr-defined]
