"""requests-mock in users' own tests."""

from __future__ import annotations

import unittest

import pytest
import requests
import requests_mock

from gopacs_session import PRODUCTION, GopacsAuth, GopacsSession, TokenRequestError
from gopacs_session.sandbox import Sandbox

API = "https://api.gopacs-services.eu/uftp-participants/v3/participants/DSO"
TOKEN = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 300}


class TestDecoratedMethod(unittest.TestCase):
    @requests_mock.Mocker()
    def test_a_method(self, mock: requests_mock.Mocker) -> None:
        """A method decorated with the mocker needs the token endpoint and the API, and no more."""
        mock.post(PRODUCTION.token_url, json=TOKEN)
        mock.get(API, json={"participants": 3}, request_headers={"Authorization": "Bearer a-token"})
        with GopacsSession("trader", "s3cret") as session:
            assert session.get(API).json() == {"participants": 3}
        assert [request.method for request in mock.request_history] == ["POST", "GET"]


@requests_mock.Mocker(kw="mock")
class TestDecoratedClass(unittest.TestCase):
    def test_first(self, mock: requests_mock.Mocker) -> None:
        """Each test of a decorated class has a token endpoint of its own, and its session a token of its own."""
        mock.post(PRODUCTION.token_url, json=TOKEN)
        mock.get(API, json={"participants": 3})
        with GopacsSession("trader", "s3cret") as session:
            assert session.get(API).json() == {"participants": 3}
        assert len(mock.request_history) == 2

    test_second = test_first


def test_an_auth_object(requests_mock: requests_mock.Mocker) -> None:
    """An auth object is served tokens and answers as a session is, the replay of a 401 included."""
    requests_mock.post(PRODUCTION.token_url, [{"json": {"access_token": token}} for token in ("first", "second")])
    requests_mock.get(API, [{"status_code": 401}, {"json": {"participants": 3}}])
    answer = requests.get(API, auth=GopacsAuth("trader", "s3cret"), timeout=60)
    assert answer.json() == {"participants": 3}
    borne = [request.headers.get("Authorization") for request in requests_mock.request_history]
    assert borne == [None, "Bearer first", None, "Bearer second"]


def test_the_pytest_fixture(requests_mock: requests_mock.Mocker) -> None:
    """With the fixture, a stored token spares the token endpoint altogether."""
    requests_mock.get(API, json={"participants": 3})
    with GopacsSession("trader", "s3cret") as session:
        session.token = TOKEN
        assert session.get(API).json() == {"participants": 3}
    assert [request.headers["Authorization"] for request in requests_mock.request_history] == ["Bearer a-token"]


def test_a_mocker_for_one_session() -> None:
    """A mocker that is made for one session serves its tokens, too, and other sessions stay real."""
    with GopacsSession("trader", "s3cret") as session, requests_mock.Mocker(session=session) as mock:
        mock.post(PRODUCTION.token_url, json=TOKEN)
        mock.get(API, [{"status_code": 401}, {"json": {"participants": 3}}])
        assert session.get(API).json() == {"participants": 3}
    assert [request.method for request in mock.request_history] == ["POST", "GET", "POST", "GET"]


def test_a_mounted_adapter() -> None:
    """requests-mock's adapter can be mounted on the session as on any other."""
    adapter = requests_mock.Adapter()
    adapter.register_uri("POST", PRODUCTION.token_url, json=TOKEN)
    adapter.register_uri("GET", API, [{"status_code": 401}, {"text": "fine"}])
    with GopacsSession("trader", "s3cret") as session:
        session.mount("https://", adapter)
        assert session.get(API).text == "fine"


def test_a_token_endpoint_that_nobody_registered(requests_mock: requests_mock.Mocker) -> None:
    """A test that forgot the token endpoint is told so, and its API request is not sent without a token."""
    requests_mock.get(API)
    with GopacsSession("trader", "s3cret") as session, pytest.raises(TokenRequestError, match="NoMockAddress"):
        session.get(API)
    assert API not in [request.url for request in requests_mock.request_history]


def test_a_mocked_api_beside_a_real_authorization_server(sandbox: Sandbox, session: GopacsSession) -> None:
    """With real_http the token comes from the sandbox, and only the mocked path never reaches it."""
    with requests_mock.Mocker(session=session, real_http=True) as mock:
        mock.get(f"{sandbox.api_url}/mocked", [{"status_code": 401}, {"text": "mocked"}])
        assert session.get(f"{sandbox.api_url}/real").json()["path"] == "/real"
        assert session.get(f"{sandbox.api_url}/mocked").text == "mocked"
        assert session.get(f"{sandbox.api_url}/real").status_code == 200
    assert [(exchange.path, exchange.token_number) for exchange in sandbox.api_requests] == [("/real", 1), ("/real", 2)]
    assert len(sandbox.token_requests) == 2
