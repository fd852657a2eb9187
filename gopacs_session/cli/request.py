"""What ``gopacs-session request`` does: send a request that bears a token, and print the answer."""

from __future__ import annotations

import json
import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, BinaryIO

import requests
from requests.structures import CaseInsensitiveDict

from ..environments import Environment
from ..exceptions import ConfigurationError, TokenRequestError, WrongEnvironmentError
from ..session import GopacsSession
from .commands import standard_input
from .exit_code import ExitCode, of_status
from .route import Route
from .terminal import Terminal, complain, printable

CHUNK = 16384  # bytes


def exchange(options: Namespace, arguments: Mapping[str, Any]) -> ExitCode:
    """Send the request, print the answer's body as it arrives, and tell how it went."""
    with ExitStack() as stack:
        body = _body(options, stack)
        output = stack.enter_context(_new_content(options.output)) if options.output else sys.stdout.buffer
        session = stack.enter_context(GopacsSession(**arguments, timeout=options.timeout))
        Route.to(options.url, session)  # For what is wrong with a proxy's URL.
        response = stack.enter_context(_send(session, options, body))
        if options.verbose:
            for each in [*response.history, response]:
                _show(_request_lines(each.request), "> ")
                _show(_head(each), "< ")
        elif options.include:
            _show([*_head(response), ""])
        if options.output:
            _empty(output)
        _print(response, output, sys.stdout.isatty() and not options.output)
    return _verdict(session.environment, options, response)


def _body(options: Namespace, stack: ExitStack) -> bytes | BinaryIO | None:
    data = options.data if options.json is None else options.json
    if data in ("-", "@-"):
        if options.secret_stdin:
            raise ConfigurationError("Standard input cannot bring both the secret and the body.")
        # At once, so that it can be sent again if the API refuses the first token.
        return standard_input()
    if data and data.startswith("@"):
        return stack.enter_context(open(data[1:], "rb"))
    return None if data is None else os.fsencode(data)


@contextmanager
def _new_content(path: str) -> Iterator[BinaryIO]:
    """A file that can be written. What it holds stays until there is an answer: it may be the body that is sent."""
    is_new = not os.path.exists(path)
    with open(path, "wb", opener=lambda path, flags: os.open(path, flags & ~os.O_TRUNC, 0o666)) as file:
        try:
            yield file
        except BaseException:
            if is_new and not file.tell():
                os.unlink(path)
            raise


def _empty(file: BinaryIO) -> None:
    if os.path.isfile(file.name):  # Devices and pipes can't be truncated.
        file.truncate()


def _send(session: GopacsSession, options: Namespace, body: bytes | BinaryIO | None) -> requests.Response:
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict(options.header)
    if options.json is not None:
        headers = CaseInsensitiveDict({"Content-Type": "application/json", "Accept": "application/json", **headers})
    if "Authorization" in headers and session.environment.covers(options.url):
        complain("note: the token takes the place of your -H 'Authorization: ...'.")
    try:
        return session.request(options.method, options.url, data=body, headers=dict(headers), stream=True)
    except WrongEnvironmentError:
        raise ConfigurationError(
            f"The URL is for another environment than {session.environment.name}, and nothing was sent to it. "
            "Choose with --environment, or GOPACS_ENVIRONMENT."
        ) from None
    except requests.RequestException as error:
        if error.request and not isinstance(error, TokenRequestError):
            _tell_of_foreign_host(session.environment, str(error.request.url))
            if options.verbose:
                _show(_request_lines(error.request), "> ")
        raise


def _print(response: requests.Response, output: BinaryIO, on_terminal: bool) -> None:
    end = b"\n"
    for chunk in _indented(response) if on_terminal else response.iter_content(CHUNK):
        output.write(chunk)
        output.flush()
        end = chunk[-1:] or end
    if end != b"\n" and on_terminal:
        output.write(b"\n")  # The shell's prompt is to start a line.


def _indented(response: requests.Response) -> Iterator[bytes]:
    """JSON as people read it; anything else as it arrives."""
    if not re.search(r"[/+]json\b", response.headers.get("Content-Type", "")):
        yield from response.iter_content(CHUNK)
        return
    try:
        text = json.dumps(json.loads(response.content), indent=2, ensure_ascii=False)
        yield text.encode(sys.stdout.encoding, "backslashreplace")
    except (ValueError, RecursionError):
        yield response.content


def _request_lines(request: Any) -> list[str]:
    lines = [f"{request.method} {request.url}"]
    for name, value in request.headers.items():
        text = value if isinstance(value, str) else value.decode("latin-1")
        lines.append(f"{name}: {text.split(' ')[0]} ***" if name.lower() == "authorization" else f"{name}: {text}")
    return lines


def _head(response: requests.Response) -> list[str]:
    lines = [f"HTTP/{response.raw.version / 10} {response.status_code} {response.reason}"]
    return lines + [f"{name}: {value}" for name, value in response.raw.headers.items()]


def _show(lines: list[str], mark: str = "") -> None:
    if sys.stderr is None:
        return
    terminal = Terminal(sys.stderr)
    for line in lines:
        terminal.say(mark + printable(line))


def _tell_of_foreign_host(environment: Environment, url: str) -> None:
    if not environment.covers(url):
        hosts = " or ".join(environment.api_domains)
        complain(f"note: that host is not in {environment.name} (at or below {hosts}), so it gets no token.")


def _verdict(environment: Environment, options: Namespace, response: requests.Response) -> ExitCode:
    code = of_status(response.status_code)
    _tell_of_foreign_host(environment, str(response.url))
    method = response.request.method
    if method != options.method:
        status = response.history[0].status_code
        complain(f"note: after a {status} the {options.method} was sent on as {method}, without its body.")
    if code != ExitCode.SUCCESS:
        advice = " gopacs-session check tells the client's roles." if response.status_code == 403 else ""
        complain(f"the API answered {response.status_code} {response.reason}.{advice}")
    return code
