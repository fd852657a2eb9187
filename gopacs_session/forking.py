"""What must be forgotten in a forked child: locks that only the parent's threads would release, and its connections."""

from __future__ import annotations

import os
import queue
import threading
import weakref
from contextlib import ExitStack, suppress
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3 import PoolManager


class Watched(Protocol):
    def after_fork(self) -> None:
        """Start afresh: no other thread runs in this process."""


_watched: weakref.WeakValueDictionary[int, Watched] = weakref.WeakValueDictionary()


def watch(thing: Watched) -> None:
    """Have `thing` start afresh in each child that is forked from now on."""
    _watched[id(thing)] = thing


def forget_connections(session: requests.Session) -> None:
    """Let `session` share no connection and no lock with the parent process."""
    if hasattr(session, "cookies"):  # pragma: no branch - the fork may have come while the session was being made
        session.cookies._cookies_lock = threading.RLock()
    for adapter in getattr(session, "adapters", {}).values():
        if isinstance(adapter, HTTPAdapter):
            with suppress(AttributeError):  # A subclass that sends by other means may have nothing of this.
                for manager in (adapter.poolmanager, *adapter.proxy_manager.values()):
                    _empty(manager, adapter._pool_connections)


def _empty(manager: PoolManager, size: int) -> None:
    """Give it new pools by its own settings; clear() would take locks that the parent's threads held."""
    for pool in getattr(manager.pools, "_container", {}).values():
        connections = getattr(pool, "pool", None)
        if isinstance(connections, queue.Queue):  # pragma: no branch - a closed pool has none
            _drop(connections)
    manager.pools = type(manager.pools)(size)


def _drop(connections: queue.Queue[Any]) -> None:
    """Close, in this process alone, what a pool keeps: the server hears nothing of it, and the parent goes on."""
    for connection in connections.queue:
        with suppress(AttributeError, OSError):  # Most are None.
            connection.sock.close()  # Python would warn of one that is left open.
    # urllib3 empties the queue when its pool is freed, or at exit, and takes its lock for that.
    connections.__init__(connections.maxsize)  # type: ignore[misc]


def _after_fork() -> None:
    with ExitStack() as fresh_starts:  # An error of one, as of a user's adapter, keeps no other from its own.
        for thing in list(_watched.values()):
            fresh_starts.callback(thing.after_fork)


if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=_after_fork)
