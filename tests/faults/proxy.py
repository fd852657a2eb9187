"""A TCP proxy that strikes what it passes on, as a table of faults says.

It sees ciphertext alone: so its faults are those of a network, in handshakes as in requests and answers. Faults of the
servers are the sandbox's.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

Effect = Callable[[bytes], AsyncIterator[bytes]]


async def unharmed(piece: bytes) -> AsyncIterator[bytes]:
    yield piece


def late(seconds: float) -> Effect:
    async def effect(piece: bytes) -> AsyncIterator[bytes]:
        await asyncio.sleep(seconds)
        yield piece

    return effect


async def in_drops(piece: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(piece), 200):
        yield piece[start : start + 200]
        await asyncio.sleep(0.01)


async def garbled(piece: bytes) -> AsyncIterator[bytes]:
    yield piece[:-1] + bytes([piece[-1] ^ 1])


async def cut_short(piece: bytes) -> AsyncIterator[bytes]:
    yield piece[: len(piece) // 2]
    raise EOFError


async def hung_up_afterwards(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
    raise EOFError


async def reset(piece: bytes) -> AsyncIterator[bytes]:
    raise ConnectionResetError
    yield piece


# The probability is that of a piece at a rate of 1.
FAULTS: tuple[tuple[str, float, Effect], ...] = (
    ("late", 0.004, late(0.3)),
    ("too late", 0.002, late(1.5)),
    ("in drops", 0.004, in_drops),
    ("garbled", 0.002, garbled),
    ("swallowed", 0.002, late(3600)),
    ("cut short", 0.003, cut_short),
    ("hung up afterwards", 0.002, hung_up_afterwards),
    ("reset", 0.002, reset),
)


class Proxy:
    """A context manager that serves in a thread of its own. What goes wrong there is raised where the block ends.

    Args:
        upstream: the port on loopback that is behind it.
        random: decides what is struck.
        rates: of the faults, at a port of its own each.

    Attributes:
        ports: in the order of the rates.
        calm: whether nothing is struck.
        hits: how often each fault struck.
        last_connection: when one was opened, by time.monotonic().
    """

    def __init__(self, upstream: int, random: Random, *rates: float) -> None:
        self.ports: list[int] = []
        self.calm, self.last_connection = False, 0.0
        self.hits: Counter[str] = Counter()
        self._upstream, self._random, self._rates = upstream, random, rates
        self._errors: list[Any] = []
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join()
        assert self._errors == []

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda _, context: self._errors.append(context))
        servers = [await asyncio.start_server(partial(self._pass_on, rate), "127.0.0.1", 0) for rate in self._rates]
        self.ports = [server.sockets[0].getsockname()[1] for server in servers]
        self._started.set()
        await self._end.wait()
        for server in servers:
            server.close()

    async def _pass_on(self, rate: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection from its start to its end, which is an RST if a fault says so."""
        self.last_connection = time.monotonic()
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        pumps = self._pump(rate, reader, behind_writer), self._pump(rate, behind_reader, writer)
        tasks = [asyncio.ensure_future(pump) for pump in pumps]
        try:
            with suppress(asyncio.CancelledError):
                ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if any(isinstance(task.exception(), ConnectionResetError) for task in ended):
                    self._reset(writer)
        finally:
            for part in (*tasks, writer.transport, behind_writer.transport):
                part.cancel() if isinstance(part, asyncio.Future) else part.close()

    def _reset(self, writer: asyncio.StreamWriter) -> None:
        if not writer.is_closing():  # else it was the client that did it
            connection: Any = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _pump(self, rate: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(EOFError):
            while piece := await reader.read(65536):
                async for part in self._fault(rate)(piece):
                    writer.write(part)
                    await writer.drain()

    def _fault(self, rate: float) -> Effect:
        roll = 1.0 if self.calm else self._random.random() / rate
        for name, probability, effect in FAULTS:
            roll -= probability
            if roll < 0:
                self.hits[name] += 1
                return effect
        return unharmed
