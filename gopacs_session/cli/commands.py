"""What the commands of ``gopacs-session`` do. Each takes its options and returns its exit code.

What a command does not need it does not import, so that ``token`` starts fast.
"""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO

from ..exceptions import ConfigurationError, WrongEnvironmentError
from ..session import GopacsSession
from .credentials import configure
from .exit_code import ExitCode, of_status

if TYPE_CHECKING:
    import requests

    from .check import Step

CHUNK = 16384  # bytes


def token(options: Namespace) -> ExitCode:
    """Print an access token."""
    with GopacsSession(**configure(options).arguments) as session:
        answer = session.fetch_token()
    if options.json:
        text = json.dumps({name: value for name, value in answer.items() if name != "refresh_token"}, indent=2)
    else:
        text = f"Authorization: Bearer {answer['access_token']}" if options.header else answer["access_token"]
    sys.stdout.write(f"{text}\n")
    return ExitCode.SUCCESS


def check(options: Namespace) -> ExitCode:
    """Print what works and what does not, step by step."""
    from .check import diagnose

    steps = []
    for step in diagnose(lambda: configure(options)):
        steps.append(step)
        if not options.json:
            _show(step)
    code = next((step.code for step in steps if step.code), ExitCode.SUCCESS)
    if options.json:
        report = {"passed": code == ExitCode.SUCCESS, "steps": [step.report() for step in steps]}
        sys.stdout.write(f"{json.dumps(report, indent=2)}\n")
    return code


def _show(step: Step) -> None:
    from .terminal import Style, Terminal

    terminal = Terminal(sys.stdout)
    symbol, substitute, style = {
        True: ("✓", "+", Style.GREEN),
        False: ("✗", "x", Style.RED),
        None: ("·", "-", Style.DIM),
    }[step.passed]
    terminal.entry(f"{terminal.symbol(symbol, substitute)} {step.name:<13}  ", step.text, [style])
    if step.advice:
        terminal.entry(f"{'':13}{terminal.symbol('→', '>')} ", step.advice, [Style.YELLOW])


def request(options: Namespace) -> ExitCode:
    """Send a request, and print the answer's body as it arrives."""
    arguments = configure(options).arguments
    with ExitStack() as stack:
        body = _body(options, stack)
        output: BinaryIO = stack.enter_context(open(options.output, "wb")) if options.output else sys.stdout.buffer
        session = stack.enter_context(GopacsSession(**arguments, timeout=options.timeout))
        response = stack.enter_context(_send(session, options, body))
        if options.include:
            _head(response)
        end = b"\n"
        for chunk in response.iter_content(CHUNK):
            output.write(chunk)
            output.flush()
            end = chunk[-1:]
        if end != b"\n" and not options.output and sys.stdout.isatty():
            output.write(b"\n")  # The shell's prompt is to start a line.
    return _verdict(session, response)


def _send(session: GopacsSession, options: Namespace, body: bytes | BinaryIO | None) -> requests.Response:
    try:
        return session.request(options.method, options.url, data=body, headers=dict(options.header), stream=True)
    except WrongEnvironmentError:
        raise ConfigurationError(
            f"{options.url} is of another environment than {session.environment.name}: nothing was sent to it. "
            "Choose with --environment, or GOPACS_ENVIRONMENT."
        ) from None


def _body(options: Namespace, stack: ExitStack) -> bytes | BinaryIO | None:
    if options.data in ("-", "@-"):
        if options.secret_stdin:
            raise ConfigurationError("Standard input cannot bring both the secret and the body.")
        # At once, so that it can be sent again if the API refuses the first token.
        return sys.stdin.buffer.read()
    if options.data and options.data.startswith("@"):
        return stack.enter_context(open(options.data[1:], "rb"))
    return None if options.data is None else os.fsencode(options.data)


def _head(response: requests.Response) -> None:
    from .terminal import Terminal, printable

    terminal = Terminal(sys.stderr)
    version = {10: "1.0", 11: "1.1"}.get(response.raw.version, "2")
    lines = [f"HTTP/{version} {response.status_code} {response.reason}"]
    lines += [f"{name}: {value}" for name, value in response.raw.headers.items()]
    for line in [*lines, ""]:
        terminal.say(printable(line))


def _verdict(session: GopacsSession, response: requests.Response) -> ExitCode:
    from .terminal import complain

    code = of_status(response.status_code)
    if not session.environment.covers(str(response.url)):
        complain(f"note: {response.url} is none of {session.environment.name}'s: it was sent no token.")
    if code != ExitCode.SUCCESS:
        advice = " gopacs-session check tells the client's roles." if response.status_code == 403 else ""
        complain(f"the API answered {response.status_code} {response.reason}.{advice}")
    return code
