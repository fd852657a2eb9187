"""Who issued a server's certificate and when it expires, read from the certificate itself.

The ssl module tells this only of a certificate that it trusts; a person needs it most of one that it does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone

CONTEXT_0 = 0xA0  # ITU-T X.690 8.1.2: the tag of an explicit version
UTC_TIME = 0x17
ORGANIZATION, COMMON_NAME = b"\x55\x04\x0a", b"\x55\x04\x03"  # 2.5.4.10 and 2.5.4.3 (ITU-T X.520)


@dataclass(frozen=True)
class Certificate:
    """What matters of an X.509 certificate (RFC 5280 section 4.1).

    Attributes:
        issuer (str): common name and organization of who signed it; empty if it has neither.
        expires (datetime): in UTC.
    """

    issuer: str
    expires: datetime

    @classmethod
    def parse(cls, der: bytes) -> Certificate | None:
        """The certificate in these bytes; None if there is none."""
        try:
            [(_, certificate)] = _elements(der)
            fields = list(_elements(next(_elements(certificate))[1]))
            if fields[0][0] == CONTEXT_0:
                del fields[0]
            _, _, (_, issuer), (_, validity), *_ = fields
            _, (tag, expiry) = _elements(validity)
            return cls(_name(issuer), _time(tag, expiry))
        except (IndexError, StopIteration, ValueError):
            return None

    def __str__(self) -> str:
        days = (self.expires - datetime.now(timezone.utc)).days
        left = f"{days} days" if days >= 0 else "expired"
        return f"certificate by {self.issuer or 'nobody'}, until {self.expires:%Y-%m-%d} ({left})"


def _elements(der: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element, one after the other (ITU-T X.690 section 8.1)."""
    while der:
        tag, size, start = der[0], der[1], 2
        if size & 0x80:
            start += size & 0x7F
            size = int.from_bytes(der[2:start], "big")
        if len(der) < start + size:
            raise ValueError("cut off")
        yield tag, der[start : start + size]
        der = der[start + size :]


def _name(name: bytes) -> str:
    parts = {}
    for _, attributes in _elements(name):
        for _, attribute in _elements(attributes):
            (_, kind), (_, value) = _elements(attribute)
            parts[kind] = value.decode(errors="replace")
    return ", ".join(parts[kind] for kind in (COMMON_NAME, ORGANIZATION) if kind in parts)


def _time(tag: int, text: bytes) -> datetime:
    years = "%y" if tag == UTC_TIME else "%Y"
    return datetime.strptime(text.decode("ascii"), f"{years}%m%d%H%M%SZ").replace(tzinfo=timezone.utc)
