"""Seconds, and pairs of them to connect and to read, as requests takes them."""

from .exceptions import ConfigurationError

Timeout = float | tuple[float, float]
RequestTimeout = float | tuple[float | None, float | None] | None


def check_seconds(name: str, value: object, *, least: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= 1e9:
        raise ConfigurationError(f"{name} must be a number of seconds from {least}.")


def check_timeout(name: str, value: object, *, may_be_none: bool = False) -> None:
    parts = value if isinstance(value, tuple) else (value, value)
    if len(parts) != 2:
        raise ConfigurationError(f"{name} must be a number of seconds, or two: to connect, and to read.")
    for part in parts:
        if not (part is None and may_be_none):
            check_seconds(name, part, least=0.001)
