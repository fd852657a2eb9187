"""Draws the pictures of the documentation: python docs/pictures/draw.py writes the SVG files beside it.

They use no colour but that of the text around them, so that they can be read on light and dark pages and in print.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path

LINE = 20  # from one line of text to the next
DASHED = ' stroke-dasharray="6 4"'
STALE = (  # hatched, so that it differs from fresh in print, too
    '<pattern id="hatch" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="8" height="8" fill="currentColor" fill-opacity="0.07"/>'
    '<rect width="3" height="8" fill="currentColor" fill-opacity="0.45"/></pattern>'
)
ARROW = (
    '<marker id="{0}-head" viewBox="0 0 10 10" refX="10" refY="5" markerWidth="9" markerHeight="9" orient="auto">'
    '<path d="M0,1 L10,5 L0,9 z" fill="currentColor"/></marker>'
)


def svg(
    name: str,
    width: int,
    height: int,
    title: str,
    description: str,
    parts: Iterable[str],
) -> str:
    """The text of a file. `svg:root` is a picture that stands alone; within a page, the page chooses the colour."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' role="img" aria-labelledby="{name}-title {name}-description" font-family="sans-serif" font-size="15">',
        f'<title id="{name}-title">{escape(title)}</title>',
        f'<desc id="{name}-description">{escape(description)}</desc>',
        "<style>@media (prefers-color-scheme: dark) { svg:root { color: #eee; background: #111 } }</style>",
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def text(x: float, y: float, words: str, anchor: str = "start", style: str = "") -> str:
    """Lines of text; `y` is the base line of the first."""
    spans = "".join(
        f'<tspan x="{x:g}" y="{y + number * LINE:g}">{escape(line)}</tspan>'
        for number, line in enumerate(words.split("\n"))
    )
    return f'<text text-anchor="{anchor}" fill="currentColor"{style}>{spans}</text>'


def bold(x: float, y: float, words: str, anchor: str = "start") -> str:
    return text(x, y, words, anchor, ' font-weight="bold"')


def line(x1: float, y1: float, x2: float, y2: float, style: str = "") -> str:
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="currentColor" stroke-width="1.5"{style}/>'


def box(x: float, y: float, width: float, height: float, fill: str) -> str:
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" stroke="currentColor" stroke-width="1.5"'
        f" {fill}/>"
    )


def token_life() -> str:
    """The timeline of one token."""
    top, bottom = 62, 112
    fresh, stale, unusable = 20, 300, 530
    phases = (
        (fresh, stale, "fresh", 'fill="currentColor" fill-opacity="0.07"'),
        (stale, unusable, "stale", 'fill="url(#hatch)"'),
        (unusable, 740, "unusable", 'fill="currentColor" fill-opacity="0.7"'),
    )
    requests = (
        (fresh, "A request goes out\nwith this token."),
        (stale, "A request goes out with\nthis token; one renewal\nstarts behind it."),
        (
            unusable,
            "A request waits for the\none renewal, and goes out\nwith the new token.",
        ),
    )
    marks = (
        (fresh, "0 s\nissued"),
        (stale, "240 s\n60 s (leeway)\nbefore the end"),
        (unusable, "295 s\n5 s before\nthe end"),
        (690, "300 s\nexpired"),
    )
    parts = ["<defs>", STALE, ARROW.format("life"), "</defs>"]
    for start, end, name, fill in phases:
        parts += [
            box(start, top, end - start, bottom - top, fill),
            bold((start + end) / 2, top - 14, name, "middle"),
        ]
    parts += [text(start, 222, words) for start, words in requests]
    for x, words in marks:
        parts += [
            line(x, bottom, x, bottom + 12),
            text(x, bottom + 30, words, "start" if x == fresh else "middle"),
        ]
    parts += [
        line(20, bottom, 775, bottom, ' marker-end="url(#life-head)"'),
        text(780, bottom + 5, "time"),
    ]
    parts += [line(690, top, 690, bottom, DASHED)]
    description = (
        "A bar from left to right, not to scale, for a token that lives 300 seconds. From 0 to 240 seconds it is "
        "fresh: requests go out with it. From 240 to 295 seconds it is stale: requests go out with it, and one renewal "
        "starts behind them. From 295 seconds on it is unusable: requests wait for the renewal. It expires at 300 "
        "seconds."
    )
    return svg("life", 825, 274, "The life of a token", description, parts)


def replay() -> str:
    """The sequence of a 401 that is mended."""
    columns = {"program": 80, "session": 300, "api": 520, "server": 740}
    names = {
        "program": "your program",
        "session": "GopacsSession",
        "api": "API",
        "server": "authorization\nserver",
    }
    steps = (
        ("program", "session", "post(url, data)"),
        ("session", "api", "POST, token 1"),
        ("api", "session", "401"),
        ("session", "server", "client credentials"),
        ("server", "session", "200, token 2"),
        ("session", "api", "POST, token 2"),
        ("api", "session", "200"),
        ("session", "program", "the 200"),
    )
    notes = {
        1: (columns["api"] + 14, "start", "Token 1\nwas revoked."),
        2: (columns["session"] - 14, "end", "The body is\nrewound."),
        7: (columns["session"] + 14, "start", "The 401 is in\nits history."),
    }
    height = 90 + len(steps) * 48
    parts = ["<defs>", ARROW.format("replay"), "</defs>"]
    for key, x in columns.items():
        parts += [bold(x, 24 if "\n" in names[key] else 34, names[key], "middle")]
        parts += [line(x, 56, x, height - 14, ' stroke-opacity="0.5"')]
    for number, (sender, receiver, words) in enumerate(steps):
        y, start, end = 100 + number * 48, columns[sender], columns[receiver]
        answer = DASHED if start > end else ""
        parts += [line(start, y, end, y, answer + ' marker-end="url(#replay-head)"')]
        # Over the part next to the session, where no life line crosses the words.
        parts += [text(min(start, end) + 110, y - 9, words, "middle")]
        if number in notes:
            x, anchor, words = notes[number]
            parts += [text(x, y, words, anchor)]
    description = (
        "A sequence diagram. Your program calls post on the session. The session sends the POST with token 1 to the "
        "API, which answers 401. The session rewinds the body, and sends its client credentials to the authorization "
        "server, which answers 200 with token 2. The session sends the POST again, with token 2. The API answers 200, "
        "which your program gets; the 401 is in its history."
    )
    return svg("replay", 825, height, "A 401 that is mended", description, parts)


PICTURES: dict[str, Callable[[], str]] = {
    "token-life.svg": token_life,
    "replay.svg": replay,
}

if __name__ == "__main__":
    for file, draw in PICTURES.items():
        (Path(__file__).parent / file).write_text(
            draw(), encoding="utf-8", newline="\n"
        )
