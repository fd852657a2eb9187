"""The command ``gopacs-session``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from enum import IntEnum
from typing import TYPE_CHECKING

from . import __version__
from .exceptions import ConfigurationError, GopacsSessionError

if TYPE_CHECKING:
    from .sandbox import Sandbox


class ExitCode(IntEnum):
    """What the command's exit code means."""

    SUCCESS = 0
    FAILURE = 1
    CONFIGURATION = 2
    INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command with `argv`, or else with the process's arguments; returns its :class:`ExitCode`."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except (ConfigurationError, OSError) as error:
        print(f"gopacs-session: {error}", file=sys.stderr)
        return ExitCode.CONFIGURATION
    except GopacsSessionError as error:
        print(f"gopacs-session: {error}", file=sys.stderr)
        return ExitCode.FAILURE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="gopacs-session", description="Access tokens and requests for GOPACS's APIs.")
    parser.add_argument("--version", action="version", version=f"gopacs-session {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="show a session at work on a sandbox, in half a minute")
    demo.set_defaults(run=_demo)

    sandbox = commands.add_parser("sandbox", help="run a local authorization server and API in the foreground")
    sandbox.add_argument("--port", type=_port, default=0, help="the port to listen on (default: a free one)")
    sandbox.add_argument(
        "--token-lifetime", type=_lifetime, default=300, metavar="S", help="seconds that a token lives (default: 300)"
    )
    sandbox.set_defaults(run=_sandbox)
    return parser


def _demo(options: argparse.Namespace) -> int:
    from .demo import Demo  # Here, so that the other commands start without it.

    return ExitCode.SUCCESS if Demo(say=_say).run() else ExitCode.FAILURE


def _say(line: str) -> None:
    # In one write: print's line end comes apart from its line when threads speak at once.
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _sandbox(options: argparse.Namespace) -> int:
    from .sandbox import Exchange, Sandbox

    def log(exchange: Exchange) -> None:
        token = f"token {exchange.token_number}" if exchange.token_number else "no token"
        _say(f"{exchange.method} {exchange.path} {exchange.status} ({token})")

    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with Sandbox(port=options.port, token_lifetime=options.token_lifetime, on_request=log) as sandbox:
        _say(_directions(sandbox))
        stopped.wait()
    _say("Stopped.")
    return ExitCode.SUCCESS


def _directions(sandbox: Sandbox) -> str:
    # The shell's printf is no process of its own: the secret shows in no process list.
    return f"""\
A GOPACS sandbox, until Ctrl-C. Its tokens live {sandbox.token_lifetime:g} s; any path is an API that tells what it received.

  export GOPACS_CLIENT_ID={sandbox.client_id}
  export GOPACS_CLIENT_SECRET={sandbox.client_secret}
  export GOPACS_TOKEN_URL={sandbox.environment.token_url}
  export GOPACS_API_DOMAINS={",".join(sandbox.environment.api_domains)}
  export REQUESTS_CA_BUNDLE={sandbox.ca_file} CURL_CA_BUNDLE={sandbox.ca_file}

With these lines in another shell, a token by curl, and a request with it:

  printf 'grant_type=client_credentials&client_id=%s&client_secret=%s' $GOPACS_CLIENT_ID $GOPACS_CLIENT_SECRET |
    curl --silent --data @- $GOPACS_TOKEN_URL
  curl --oauth2-bearer TOKEN {sandbox.api_url}/anything
"""


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _lifetime(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no positive number of seconds")
    return seconds
