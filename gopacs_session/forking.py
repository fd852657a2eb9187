"""What must be forgotten in a forked child: locks that only the parent's threads would release, and its connections."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

import requests
from requests.adapters import HTTPAdapter


class Watched(Protocol):
    def after_fork(self) -> None:
        """Start afresh: no other thread runs in this process."""


_watched: weakref.WeakValueDictionary[int, Watched] = weakref.WeakValueDictionary()


def watch(thing: Watched) -> None:
    """Have `thing` start afresh in each child that is forked from now on."""
    _watched[id(thing)] = thing


def forget_connections(session: requests.Session) -> None:
    """Let `session` share no connection and no lock with the parent process."""
    if hasattr(session, "cookies") and hasattr(session.cookies, "_cookies_lock"):  # A user may set another jar.
        session.cookies._cookies_lock = threading.RLock()
    for adapter in getattr(session, "adapters", {}).values():  # The fork may have come while it was being made.
        if isinstance(adapter, HTTPAdapter):
            for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
                # New pools by the manager's own settings; clear() would take locks that the parent's threads held.
                manager.pools = type(manager.pools)(adapter._pool_connections)


def _after_fork() -> None:
    for thing in list(_watched.values()):
        thing.after_fork()


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=_after_fork)
