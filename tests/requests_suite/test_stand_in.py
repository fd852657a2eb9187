"""The class that takes the place of requests.Session is one to anybody who asks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
import requests
from requests_oauthlib import OAuth2Session
from requests_suite import stand_in

from gopacs_session import GopacsSession


@pytest.fixture(autouse=True)
def in_place() -> Iterator[None]:
    stand_in.take_place("gopacs")
    yield
    stand_in.take_place("plain")


def test_every_way_to_a_session_leads_to_ours() -> None:
    """The class under both its names, and the function, make a GopacsSession, and requests.get uses one."""
    before = stand_in.sessions_made
    for make in (requests.Session, requests.sessions.Session, requests.session):
        assert isinstance(make(), GopacsSession)
    with pytest.raises(requests.exceptions.InvalidSchema):
        requests.get("elsewhere:nowhere")
    assert stand_in.sessions_made == before + 4


def test_isinstance_and_issubclass_mean_what_they_meant() -> None:
    """Whatever was a requests.Session still is one, and nothing else."""
    for session in (stand_in.PLAIN(), OAuth2Session("anyone"), GopacsSession("trader", "s3cret"), requests.Session()):
        assert isinstance(session, requests.Session)
        assert issubclass(type(session), requests.Session)
    assert not isinstance("session", requests.Session)
    assert not issubclass(str, requests.Session)


def test_a_subclass_is_ours_and_its_own() -> None:
    """A class derived from requests.Session derives from ours, and tells its instances from others."""

    class Derived(requests.Session):
        pass

    assert isinstance(Derived(), GopacsSession)
    assert isinstance(Derived(), Derived)
    assert not isinstance(requests.Session(), Derived)
    assert not issubclass(requests.Session, Derived)


def test_it_can_be_pickled() -> None:
    """A session made in place of requests.Session comes back from a pickle as what it was."""
    assert isinstance(pickle.loads(pickle.dumps(requests.Session())), stand_in.Gopacs)
