"""What a session must forget in a forked child."""

from __future__ import annotations

import os
import weakref
from collections.abc import MutableMapping
from typing import Protocol

from requests.adapters import BaseAdapter, HTTPAdapter

from .tokens import CurrentToken


class Session(Protocol):
    """What there is to forget of it."""

    adapters: MutableMapping[str, BaseAdapter]
    _current: CurrentToken


_sessions: weakref.WeakValueDictionary[int, Session] = weakref.WeakValueDictionary()


def watch(session: Session) -> None:
    """Have `session` start afresh in each child that is forked from now on."""
    # By identity: a subclass may define equality, and so not be hashable.
    _sessions[id(session)] = session


def _after_fork() -> None:
    """In a forked child no renewal is in flight, and no connection is shared with the parent process."""
    sessions = list(_sessions.values())
    for session in sessions:
        session._current.forget_renewal()
    for adapter in [adapter for session in sessions for adapter in session.adapters.values()]:
        if isinstance(adapter, HTTPAdapter):
            for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
                # New pools by the manager's own settings; clear() would take locks that the parent's threads held.
                manager.pools = type(manager.pools)(manager.pools._maxsize)


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=_after_fork)
