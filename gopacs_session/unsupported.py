"""Attributes that would have no effect, and say so."""

from __future__ import annotations

from typing import NoReturn


class UnsupportedAttribute(AttributeError, NotImplementedError):
    """So that hasattr is false, and getattr returns its default."""


class Unsupported:
    """An attribute or method that would have no effect, and says so when it is used.

    Args:
        instead: what to use instead, or why there is nothing to use.
    """

    def __init__(self, instead: str) -> None:
        self.__doc__ = f"Not supported. {instead[0].upper()}{instead[1:]}"
        self._instead = instead

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, thing: object, owner: type | None = None) -> Unsupported:
        return self if thing is None else self._refuse(thing)

    def __set__(self, thing: object, value: object) -> NoReturn:
        self._refuse(thing)

    def __delete__(self, thing: object) -> NoReturn:
        self._refuse(thing)

    def _refuse(self, thing: object) -> NoReturn:
        raise UnsupportedAttribute(f"{type(thing).__name__} does not support {self._name}: {self._instead}")
