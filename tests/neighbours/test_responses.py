"""responses in users' own tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
import responses
from responses import matchers

from gopacs_session import PRODUCTION, AuthorizationServerError, GopacsAuth, GopacsSession

API = "https://api.gopacs-services.eu/uftp-participants/v3/participants/DSO"


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
    bearers = [call.request.headers.get("Authorization") for call in responses.calls]
    assert bearers == [None, "Bearer first", None, "Bearer second"]


def test_matchers_see_form_and_token(mock: responses.RequestsMock) -> None:
    """responses can insist on the form of the grant and on the token."""
    form = {"grant_type": "client_credentials", "client_id": "trader", "client_secret": "s3cret"}
    form_matches = matchers.urlencoded_params_matcher(form)
    token_matches = matchers.header_matcher({"Authorization": "Bearer a-token"})
    mock.post(PRODUCTION.token_url, json={"access_token": "a-token"}, match=[form_matches])
    mock.get(API, json={"participants": 3}, match=[token_matches])
    with GopacsSession("trader", "s3cret") as session:
        assert session.get(API).json() == {"participants": 3}
    assert len(mock.calls) == 2


@pytest.mark.usefixtures("pauses")
def test_an_outage(mock: responses.RequestsMock) -> None:
    """A mocked exception of the token endpoint reaches the caller as a real one would, after three tries."""
    mock.post(PRODUCTION.token_url, body=requests.ConnectionError("out of order"))
    with GopacsSession("trader", "s3cret") as session, pytest.raises(AuthorizationServerError):
        session.get(API)
    assert len(mock.calls) == 3
