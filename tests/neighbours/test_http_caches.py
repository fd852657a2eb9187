"""CacheControl and hishel: adapters that keep what an API allows them to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from cachecontrol import CacheControlAdapter
from cachecontrol.caches import FileCache
from hishel import Entry, Headers, Request, Response, SqliteStorage
from hishel.requests import CacheAdapter
from requests.adapters import HTTPAdapter

from gopacs_session.sandbox import Sandbox


def cachecontrol(folder: Path) -> HTTPAdapter:
    return CacheControlAdapter(FileCache(str(folder)))


class StorageWithoutToken(SqliteStorage):
    """hishel keeps the headers of a request, too."""

    def create_entry(self, request: Request, response: Response, key: str, **limits: Any) -> Entry:
        headers = {name: value for name, value in request.headers.items() if name != "authorization"}
        return super().create_entry(replace(request, headers=Headers(headers)), response, key, **limits)


def hishel(folder: Path) -> HTTPAdapter:
    return CacheAdapter(storage=StorageWithoutToken(database_path=folder / "cache.db"))


@pytest.mark.parametrize("make", [cachecontrol, hishel])
def test_a_cached_answer(sandbox: Sandbox, tmp_path: Path, make: Callable[[Path], HTTPAdapter]) -> None:
    """An answer comes from the cache, a token never does; a 401 is mended, and no byte of the cache is a secret."""
    fresh = {"Cache-Control": "max-age=60", "Date": formatdate(usegmt=True)}
    with sandbox.session() as session:
        session.mount("https://", make(tmp_path))
        sandbox.answer_next_api_requests(1, 401)
        sandbox.answer_next_api_requests(1, 200, body=b"three participants", headers=fresh)
        tokens = [session.fetch_token()["access_token"]]
        for _ in range(2):
            assert session.get(f"{sandbox.api_url}/participants").text == "three participants"
            tokens.append(session.access_token)
        assert (len(sandbox.api_requests), len(sandbox.token_requests)) == (2, 2)
        session.fetch_token()
        assert len(sandbox.token_requests) == 3
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"three participants" in kept
    assert [secret for secret in (sandbox.client_secret, *tokens) if str(secret).encode() in kept] == []
