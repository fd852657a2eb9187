"""responses in users' own tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import responses
from responses import matchers

from gopacs_session import PRODUCTION, AuthorizationServerError, GopacsAuth, GopacsSession
from gopacs_session.sandbox import Sandbox

API = "https://api.gopacs-services.eu/uftp-participants/v3/participants/DSO"
TOKEN = {"access_token": "a-token", "token_type": "Bearer", "expires_in": 300}


@pytest.fixture
def mock() -> Iterator[responses.RequestsMock]:
    """Fails a test that leaves a registered answer unused."""
    with responses.RequestsMock(assert_all_requests_are_fired=True) as mock:
        yield mock


@responses.activate
def test_an_auth_object_under_the_decorator() -> None:
    """An auth object is served tokens and answers as a session is, the replay of a 401 included."""
    for token in "first", "second":
        responses.post(PRODUCTION.token_url, json={"access_token": token})
    responses.get(API, status=401)
    responses.get(API, json={"participants": 3})
    answer = requests.get(API, auth=GopacsAuth("trader", "s3cret"), timeout=60)
    assert answer.json() == {"participants": 3}
    borne = [call.request.headers.get("Authorization") for call in responses.calls]
    assert borne == [None, "Bearer first", None, "Bearer second"]


def test_matchers_see_form_and_token(mock: responses.RequestsMock) -> None:
    """responses can insist on the form of the grant and on the token, as a test of the whole way would."""
    form = {"grant_type": "client_credentials", "client_id": "trader", "client_secret": "s3cret"}
    mock.post(PRODUCTION.token_url, json=TOKEN, match=[matchers.urlencoded_params_matcher(form)])
    mock.get(API, json={"participants": 3}, match=[matchers.header_matcher({"Authorization": "Bearer a-token"})])
    with GopacsSession("trader", "s3cret") as session:
        assert session.get(API).json() == {"participants": 3}
    assert len(mock.calls) == 2


def test_a_callback(mock: responses.RequestsMock) -> None:
    """A callback in place of the API is called with the request that bears the token."""

    def answer(request: requests.PreparedRequest) -> tuple[int, dict[str, str], str]:
        return 200, {}, str(request.headers["Authorization"])

    mock.post(PRODUCTION.token_url, json=TOKEN)
    mock.add_callback(responses.GET, API, answer)
    with GopacsSession("trader", "s3cret") as session:
        assert session.get(API).text == "Bearer a-token"


@pytest.mark.usefixtures("pauses")
def test_an_outage(mock: responses.RequestsMock) -> None:
    """A mocked exception of the token endpoint reaches the caller as it would in real life."""
    mock.post(PRODUCTION.token_url, body=requests.ConnectionError("refused"))
    with GopacsSession("trader", "s3cret") as session, pytest.raises(AuthorizationServerError, match="refused"):
        session.get(API)
    assert len(mock.calls) == 3


def test_a_mocked_api_beside_a_real_authorization_server(sandbox: Sandbox, mock: responses.RequestsMock) -> None:
    """With a passthru the token comes from the sandbox, and only the mocked path never reaches it."""
    mock.add_passthru(f"{sandbox.api_url}/realms")
    mock.get(f"{sandbox.api_url}/mocked", status=401)
    mock.get(f"{sandbox.api_url}/mocked", body="mocked")
    with sandbox.session() as session:
        assert session.get(f"{sandbox.api_url}/mocked").text == "mocked"
    assert sandbox.api_requests == []
    assert len(sandbox.token_requests) == 2
