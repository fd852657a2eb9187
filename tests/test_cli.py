"""The command line: in this process where that will do, else in one of its own, on a terminal or with signals."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import TOKEN, Answer, Authority, http, proxying, raw
from support import Clock, unassigned_port

import gopacs_session.cli.demo
import gopacs_session.sandbox.realm
from gopacs_session import __version__, environment_variables
from gopacs_session.cli import main
from gopacs_session.cli.exit_code import ExitCode
from gopacs_session.sandbox import Sandbox

COMMAND = [sys.executable, "-m", "gopacs_session"]
# Makes the terminal on its standard input the one that controls it, as a shell would.
IN_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
# What a shell may have that would keep its programs from a sandbox.
HINDRANCES = {
    "GOPACS_ENVIRONMENT": "production",
    "GOPACS_CLIENT_SECRET": "another",
    "HTTPS_PROXY": "http://127.0.0.1:9",
    "no_proxy": "intranet.example",
    "REQUESTS_CA_BUNDLE": "/nowhere",
}
COMMANDS = ["token", "check", "request", "sandbox", "demo", "completion"]


@pytest.fixture(autouse=True)
def plain_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns that shows colours, whatever the user has."""
    for name in ("NO_COLOR", "PYTHONIOENCODING", "PYTHONUNBUFFERED"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def configured(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox for which the environment variables are set."""
    settings = environment_variables.variables(sandbox.client_id, sandbox.client_secret, sandbox.environment)
    for name, value in {**settings, "REQUESTS_CA_BUNDLE": sandbox.ca_file}.items():
        monkeypatch.setenv(name, value)
    return sandbox


@pytest.fixture
def without_secret(configured: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """The same, but for the secret."""
    monkeypatch.delenv("GOPACS_CLIENT_SECRET")
    return configured


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Sets what stands on standard input, which is no terminal."""

    def set_stdin(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    return set_stdin


@pytest.fixture
def raw_api(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts a server that grants a token, and then gives the answer that it is told; its URL."""

    @contextmanager
    def serve(answer: Answer) -> Iterator[str]:
        with authority.server(raw(http(TOKEN, "Connection: close")), answer) as server:
            settings = environment_variables.variables("trader", "s3cret", server.environment)
            for name, value in {**settings, "REQUESTS_CA_BUNDLE": authority.ca_file}.items():
                monkeypatch.setenv(name, value)
            yield server.environment.token_url.replace("/token", "/messages")

    return serve


class Terminal:
    """A process on a terminal of its own: what it shows, and what is typed."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.shown = ""
        self._descriptor = descriptor

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())

    def read(self, until: str | None = None, timeout: float = 20) -> str:
        """Everything shown up to a text, or else to the end."""
        deadline = time.monotonic() + timeout
        while until is None or until not in self.shown:
            ready, _, _ = select.select([self._descriptor], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"{until!r} does not show up in {self.shown!r}"
            try:
                data = os.read(self._descriptor, 65536)
            except OSError:  # Linux: the other end is closed.
                data = b""
            if not data:
                assert until is None, f"{until!r} did not show up in {self.shown!r}"
                break
            self.shown += data.decode().replace("\r\n", "\n")
        return self.shown


@contextmanager
def terminal(*arguments: str, **options: Any) -> Iterator[Terminal]:
    """Run the command on a terminal; the options are Popen's."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", IN_TERMINAL, *COMMAND, *arguments]
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs, **options}
    with subprocess.Popen(command, start_new_session=True, **streams) as process:
        os.close(theirs)
        try:
            yield Terminal(process, ours)
        finally:
            process.kill()
            os.close(ours)


def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the command in a process that has no terminal."""
    options = {"capture_output": True, "stdin": subprocess.DEVNULL, "timeout": 60, **options}
    return subprocess.run([*COMMAND, *arguments], text=True, **options)


def in_shell(arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with what a shell does to its streams."""
    command = ["/bin/sh", "-c", f"exec {shlex.join(COMMAND)} {arguments}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """What was told on standard error, as if the terminal were wide."""
    return joined(capsys.readouterr().err)


def joined(text: str) -> str:
    """The text without the line breaks that the width of the terminal made."""
    return re.sub(r"\n +", " ", text)


class TestHelp:
    def test_version(self) -> None:
        """`python -m gopacs_session` is the command, too."""
        result = run("--version")
        assert (result.returncode, result.stdout) == (0, f"gopacs-session {__version__}\n")

    def test_without_a_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a command, help goes to standard error, and the exit code says that something was missing."""
        assert main([]) == ExitCode.CONFIGURATION
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("usage: gopacs-session")

    def test_exit_codes(self, capsys: pytest.CaptureFixture[str]) -> None:
        """Every exit code and every variable stands in the help."""
        with pytest.raises(SystemExit) as caught:
            main(["--help"])
        text = capsys.readouterr().out
        assert caught.value.code == 0
        for code in ExitCode:
            assert f"  {code:<3}  {code.meaning}\n" in text
        for name in environment_variables.NAMES:
            assert name in text

    @pytest.mark.parametrize("command", [[], *([command] for command in COMMANDS)])
    def test_fits(self, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        """No line of any help is wider than 80 columns."""
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 80

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["s3cret"], "invalid choice (choose from"),
            (["--key=s3cret"], "unknown option --key"),
            (["--vers"], "unknown option --vers"),
            (["token", "s3cret"], "more arguments than it takes"),
            (["token", "-"], "more arguments than it takes"),
            (["token", "--header", "--json"], "not allowed with"),
            (["token", "--client-id", " "], "it is empty"),
            (["token", "--client-secret", "s3cret"], "unknown option --client-secret"),
            (["token", "--client-secret=s3cret"], "unknown option --client-secret"),
            (["token", "--env", "acceptance"], "unknown option --env"),
            (["token", "-ps3cret"], "unknown option -p"),
            (["token", "--json=s3cret"], "it takes no value"),
            (["check", "--environment", "s3cret"], "invalid choice (choose from"),
            (["request"], "required: URL"),
            (["request", "GET"], "URL must begin with https://"),
            (["request", "GET", "s3cret"], "URL must begin with https://"),
            (["request", "localhost/messages"], "URL must begin with https://"),
            (["request", "ftp://localhost/"], "URL must begin with https://"),
            (["request", "https://s3cret@[::1"], "URL names no host"),
            (["request", "https://s3cret@x:99999/"], "URL names no host"),
            (["request", "https://x.example", "GET"], "METHOD is GET, POST or the like"),
            (["request", "s3cret (x)", "https://x.example"], "METHOD is GET, POST or the like"),
            (["request", "GET", "https://x.example", "https://s3cret"], "it takes one URL"),
            (["request", "-X", "GET", "s3cret", "https://x.example"], "it takes one URL"),
            (["request", "https://x.example", "-u", "s3cret"], "unknown option -u"),
            (["request", "https://x.example", "-d", "s3cret", "--json", "{}"], "not allowed with"),
            (["request", "https://x.example", "-H", "s3cret"], "it must look like"),
            (["request", "https://x.example", "-H", ": s3cret"], "it must look like"),
            (["request", "https://x.example", "-H", "X: s3cret\nlines"], "it must look like"),
            (["request", "https://x.example", "-H", "X: s3cret\u20ac"], "Latin-1 characters only"),
            (["request", "https://x.example", "--timeout", "0"], "a positive number of seconds"),
            (["request", "https://x.example", "--timeout", "s3cret"], "a positive number of seconds"),
            (["sandbox", "--port", "65536"], "a number from 1 to 65535"),
            (["sandbox", "--port", "0"], "a number from 1 to 65535"),
            (["sandbox", "--port", "-1"], "a number from 1 to 65535"),
            (["sandbox", "--export", "fish"], "invalid choice (choose from"),
            (["sandbox", "--token-lifetime", "nan"], "a positive number of seconds"),
            (["sandbox", "--token-lifetime", "inf"], "a positive number of seconds"),
            (["completion", "s3cret (choose"], "invalid choice (choose from"),
        ],
    )
    def test_wrong_usage(self, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
        """The command's own usage is shown, and what is wrong; not what stands there, which may be a secret."""
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == ExitCode.CONFIGURATION
        out, err = capsys.readouterr()
        assert out == ""
        command = f" {arguments[0]}" if arguments[0] in COMMANDS else ""
        assert re.match(rf"usage: gopacs-session{command} \[", err)
        assert words in err
        assert "s3cret" not in err


class TestToken:
    def test_alone(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """The token stands alone on standard output, and the API takes it."""
        assert main(["token"]) == ExitCode.SUCCESS
        out, err = capsys.readouterr()
        assert out.count("\n") == 1
        assert err == ""
        with configured.session(client_secret="unused") as session:
            session.token = {"access_token": out.strip()}
            assert session.get(configured.api_url).ok
        assert len(configured.token_requests) == 1

    def test_header(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """--header prints a whole header line, for curl's -H."""
        assert main(["token", "--header"]) == ExitCode.SUCCESS
        assert re.fullmatch(r"Authorization: Bearer [\w.-]+\n", capsys.readouterr().out)

    def test_json(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """--json prints the answer with the time of expiry, without a refresh token."""
        configured.refresh_tokens = True
        assert main(["token", "--json"]) == ExitCode.SUCCESS
        answer = json.loads(capsys.readouterr().out)
        assert answer["expires_in"] == 300
        assert answer["expires_at"] == pytest.approx(time.time() + 300, abs=60)
        assert answer["session_state"]
        assert "refresh_token" not in answer

    def test_environment_wins(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """--environment beats the variables of another one, and takes a name in any case."""
        arguments = ["request", "--environment", "Acceptance", "GET", configured.api_url]
        assert main(arguments) == ExitCode.API_CLIENT_ERROR
        assert "not in acceptance" in complaint(capsys)
        assert configured.token_requests == []

    def test_nothing_configured(self, capsys: pytest.CaptureFixture[str]) -> None:
        """What is missing is told line by line, and the exit code says that it is the configuration."""
        assert main(["token"]) == ExitCode.CONFIGURATION
        out, err = capsys.readouterr()
        assert out == ""
        assert err == (
            "gopacs-session: The environment variables configure no session:\n"
            "                  GOPACS_CLIENT_ID is not set.\n"
            "                  GOPACS_CLIENT_SECRET is not set, and neither is\n"
            "                  GOPACS_CLIENT_SECRET_FILE.\n"
        )

    def test_refused(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """Refused credentials have an exit code of their own, and the server's words are told."""
        configured.client_secret = "changed"
        assert main(["token"]) == ExitCode.CREDENTIALS_REFUSED
        out, err = capsys.readouterr()
        assert out == ""
        assert "unauthorized_client: Invalid client or Invalid client" in err
        assert os.environ["GOPACS_CLIENT_SECRET"] not in err

    def test_unavailable(self, configured: Sandbox, pauses: list[float], capsys: pytest.CaptureFixture[str]) -> None:
        """An authorization server that is down has an exit code of its own; each retry is told, and nothing twice."""
        configured.answer_next_token_requests(3, 503)
        assert main(["token"]) == ExitCode.NO_TOKEN
        assert len(pauses) == 2
        first, second, last = complaint(capsys).replace("\n", "").split("gopacs-session: ")[1:]
        assert re.fullmatch(r"No access token for localhost:\d+: .* 503; .*Try 2 of 3 in \d\.\d s\.", first)
        assert re.fullmatch(r"Try 3 of 3 in \d\.\d s\.", second)
        assert last == "Gave up."


class TestSecret:
    @pytest.mark.parametrize(
        ("content", "fault"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xffs3cret", "is not UTF-8 text")]
    )
    def test_no_secret_on_stdin(
        self, configured: Sandbox, stdin: Any, content: bytes, fault: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Standard input without a secret is a fault of usage; its content is not told."""
        stdin(content)
        assert main(["token", "--secret-stdin"]) == ExitCode.CONFIGURATION
        assert capsys.readouterr().err == f"gopacs-session: --secret-stdin: standard input {fault}.\n"

    def test_prompt(self, without_secret: Sandbox) -> None:
        """A secret that is missing is asked for on the terminal, unseen; in $(...) the token alone goes to the pipe."""
        with terminal("token", stdout=subprocess.PIPE) as tty:
            tty.read("Secret of sandbox (it will not show): ")
            tty.type(f"{without_secret.client_secret}\n")
            assert tty.process.stdout
            assert re.fullmatch(rb"[\w.-]+\n", tty.process.stdout.read())
            assert tty.process.wait() == ExitCode.SUCCESS
            assert without_secret.client_secret not in tty.read()

    def test_prompt_for_secret_stdin(self, configured: Sandbox) -> None:
        """--secret-stdin on a terminal asks, too, even if a secret is configured."""
        with terminal("token", "--secret-stdin", "--client-id", "sandbox") as tty:
            tty.read("Secret of sandbox (it will not show): ")
            tty.type("wrong\n")
            assert tty.process.wait() == ExitCode.CREDENTIALS_REFUSED

    @pytest.mark.parametrize(
        ("key", "said", "code"),
        [
            ("\n", "gopacs-session: No secret was typed.\n", ExitCode.CONFIGURATION),
            ("\x04", "gopacs-session: No secret was typed.\n", ExitCode.CONFIGURATION),
            ("\x03", "", ExitCode.INTERRUPTED),
        ],
    )
    def test_nothing_typed(self, without_secret: Sandbox, key: str, said: str, code: ExitCode) -> None:
        """An empty answer is a fault of usage, and so is Ctrl-D; Ctrl-C ends the command quietly."""
        with terminal("token") as tty:
            tty.read("not show): ")
            tty.type(key)
            assert tty.read().endswith(f"not show): \n{said}")
            assert tty.process.wait() == code

    def test_other_faults_come_first(self) -> None:
        """Nobody types a secret only to learn that something else is missing."""
        with terminal("token") as tty:
            assert "GOPACS_CLIENT_ID is not set." in tty.read()
            assert tty.process.wait() == ExitCode.CONFIGURATION
        assert "Secret of" not in tty.shown


class TestRequest:
    def test_body_alone(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """The answer's body stands alone on standard output; the request bore a token."""
        assert main(["request", "get", f"{configured.api_url}/messages?x=1"]) == ExitCode.SUCCESS
        out, err = capsys.readouterr()
        assert err == ""
        echo = json.loads(out)
        assert (echo["method"], echo["path"], echo["query"]) == ("GET", "/messages", "x=1")
        assert echo["headers"]["Authorization"] == "Bearer <token 1>"

    @pytest.mark.parametrize(
        ("arguments", "method", "body"),
        [
            (["URL"], "GET", b""),
            (["put", "URL"], "PUT", b""),
            (["-X", "put", "URL"], "PUT", b""),
            (["URL", "-d", "x"], "POST", b"x"),
            (["PUT", "-d", "x", "URL"], "PUT", b"x"),
            (["-d", "x", "PUT", "-i", "URL"], "PUT", b"x"),
            (["URL", "-d", ""], "POST", b""),
        ],
    )
    def test_method(self, configured: Sandbox, arguments: list[str], method: str, body: bytes) -> None:
        """The method stands before the URL, or after -X as in curl, which also makes it GET, or POST with a body."""
        assert main(["request", *(word.replace("URL", configured.api_url) for word in arguments)]) == 0
        assert [(exchange.method, exchange.body) for exchange in configured.api_requests] == [(method, body)]

    def test_json(self, configured: Sandbox, tmp_path: Path) -> None:
        """--json is a body with the headers for JSON, as in curl, where -H still wins."""
        (tmp_path / "body").write_text('{"a": 2}')
        assert main(["request", configured.api_url, "--json", '{"a": 1}']) == ExitCode.SUCCESS
        arguments = ["--json", f"@{tmp_path / 'body'}", "-H", "accept: text/xml"]
        assert main(["request", "PATCH", configured.api_url, *arguments]) == ExitCode.SUCCESS
        assert [
            (exchange.method, exchange.body, exchange.headers["Content-Type"], exchange.headers["Accept"])
            for exchange in configured.api_requests
        ] == [
            ("POST", b'{"a": 1}', "application/json", "application/json"),
            ("PATCH", b'{"a": 2}', "application/json", "text/xml"),
        ]

    def test_verbose(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """-v shows the heads of each request and answer on standard error, without the token."""
        configured.answer_next_api_requests(1, 302, headers={"Location": "/there"})
        assert main(["request", "-v", "-H", "X-Own: 1", configured.api_url]) == ExitCode.SUCCESS
        out, err = capsys.readouterr()
        assert json.loads(out)["path"] == "/there"
        lines = err.splitlines()
        assert [line for line in lines if line.startswith(("> GET", "< HTTP"))] == [
            f"> GET {configured.api_url}/",
            "< HTTP/1.1 302 Found",
            f"> GET {configured.api_url}/there",
            "< HTTP/1.1 200 OK",
        ]
        assert lines.count("> X-Own: 1") == 2
        assert [line for line in lines if "Bearer" in line] == ["> Authorization: Bearer ***"] * 2

    @pytest.mark.parametrize(
        ("kind", "body", "shown"),
        [
            ("application/problem+json", '{"a":"\u00e9"}', '{\n  "a": "\u00e9"\n}\n'),
            ("application/json", "{broken", "{broken\n"),
            ("text/plain", "no line end", "no line end\n"),
        ],
    )
    def test_on_a_terminal(self, configured: Sandbox, kind: str, body: str, shown: str) -> None:
        """On a terminal JSON is indented, if it is any; and the shell's prompt starts a line of its own."""
        configured.answer_next_api_requests(1, 200, body=body.encode(), headers={"Content-Type": kind})
        with terminal("request", configured.api_url) as tty:
            assert tty.read() == shown

    def test_own_authorization(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """That the token takes the place of one's own Authorization header is told."""
        assert main(["request", configured.api_url, "-H", "authorization: Bearer own"]) == ExitCode.SUCCESS
        assert "the token takes the place of your -H" in complaint(capsys)
        assert configured.api_requests[0].headers["Authorization"] != "Bearer own"

    def test_method_changed(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """A redirect that makes a GET of a POST is told: the API did not take the body."""
        configured.answer_next_api_requests(1, 301, headers={"Location": "/moved"})
        assert main(["request", configured.api_url, "-d", "x"]) == ExitCode.SUCCESS
        assert "after a 301 the POST was sent on as GET" in complaint(capsys)

    def test_headers_and_text(self, configured: Sandbox) -> None:
        """-H sends headers, and -d a text; it adds no Content-Type of its own."""
        url = f"{configured.api_url}/messages"
        assert main(["request", "POST", url, "-H", "X-Name: caf\u00e9", "-H", "X-Empty:", "-d", "caf\u00e9"]) == 0
        [exchange] = configured.api_requests
        assert exchange.body == "caf\u00e9".encode()
        assert (exchange.headers["X-Name"], exchange.headers["X-Empty"]) == ("caf\u00e9", "")
        assert "Content-Type" not in exchange.headers

    @pytest.mark.parametrize("data", ["@message.xml", "-", "@-"])
    def test_body_from_elsewhere(
        self, configured: Sandbox, stdin: Any, data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """-d @FILE sends a file, and -d - standard input, again if the API refuses the first token."""
        body = b"\x00\xff\r\n" * 50_000
        (tmp_path / "message.xml").write_bytes(body)
        monkeypatch.chdir(tmp_path)
        stdin(body)
        configured.answer_next_api_requests(1, 401)
        assert main(["request", "POST", configured.api_url, "-d", data]) == ExitCode.SUCCESS
        assert [exchange.body for exchange in configured.api_requests] == [body] * 2

    def test_stdin_twice(self, configured: Sandbox, stdin: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """The secret and the body cannot both come from standard input."""
        stdin(b"secret or body")
        assert main(["request", "POST", configured.api_url, "-d", "-", "--secret-stdin"]) == ExitCode.CONFIGURATION
        assert "Standard input cannot bring both" in capsys.readouterr().err

    def test_head(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """-i prints the answer's head to standard error, so that the body stays alone; control characters are out."""
        configured.answer_next_api_requests(1, 200, body={"a": 1}, headers={"X-Bell": "\x07"})
        assert main(["request", "-i", "GET", configured.api_url]) == ExitCode.SUCCESS
        out, err = capsys.readouterr()
        assert out == '{"a":1}'
        assert err == "HTTP/1.1 200 OK\nContent-Length: 7\nContent-Type: application/json\nX-Bell: ?\n\n"

    def test_output(self, configured: Sandbox, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        """-o writes the body to a file, byte by byte, and that may be the file that was sent."""
        path = tmp_path / "message"
        path.write_bytes(b"<message/>")
        configured.answer_next_api_requests(1, 200, body=b"\x00\r\n\xff")
        assert main(["request", "POST", configured.api_url, "-d", f"@{path}", "-o", str(path)]) == ExitCode.SUCCESS
        assert [exchange.body for exchange in configured.api_requests] == [b"<message/>"]
        assert path.read_bytes() == b"\x00\r\n\xff"
        assert capsys.readouterr().out == ""

    def test_output_without_an_answer(self, configured: Sandbox, tmp_path: Path) -> None:
        """Without an answer a file stays as it was, and a new one is not left behind."""
        (tmp_path / "old").write_bytes(b"old")
        configured.client_enabled = False
        for name in "old", "new":
            assert main(["request", configured.api_url, "-o", str(tmp_path / name)]) == ExitCode.CREDENTIALS_REFUSED
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]

    def test_device(self, configured: Sandbox) -> None:
        """-o takes a device, too."""
        assert main(["request", configured.api_url, "-o", os.devnull]) == ExitCode.SUCCESS

    @pytest.mark.parametrize("option", ["-o", "-d@"])
    def test_no_such_file(self, configured: Sandbox, option: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A file that cannot be opened is told before anything is sent, with its path in one piece, to be copied."""
        path = "/no-such-folder" * 9
        assert main(["request", "POST", configured.api_url, f"{option}{path}"]) == ExitCode.CONFIGURATION
        assert complaint(capsys) == f"gopacs-session: {path}: No such file or directory\n"
        assert configured.token_requests == configured.api_requests == []

    @pytest.mark.parametrize(("status", "code"), [(204, 0), (304, 0), (400, 4), (403, 4), (499, 4), (500, 5)])
    def test_status(self, configured: Sandbox, status: int, code: int, capsys: pytest.CaptureFixture[str]) -> None:
        """The exit code tells the API's status, and the answer is printed all the same; a 403 may be a missing role."""
        configured.answer_next_api_requests(1, status, body=b"" if status < 400 else b"its words")
        assert main(["request", "GET", configured.api_url]) == code
        out, err = capsys.readouterr()
        assert out == ("" if status < 400 else "its words")
        assert err.startswith(f"gopacs-session: the API answered {status} ") if code else err == ""
        assert ("gopacs-session check tells the client's roles" in joined(err)) == (status == 403)

    def test_mistyped_host(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """A host that is not the environment's is told, also if it does not answer: it may be mistyped."""
        assert main(["request", "https://api.invalid/x?key=1"]) == ExitCode.API_UNAVAILABLE
        note, failure = complaint(capsys).splitlines()
        assert note.endswith("(at or below localhost), so it gets no token.")
        assert failure.startswith("gopacs-session: GET https://api.invalid/x failed: ")

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("https://api.gopacs-services.eu/", "another environment"),
            ("http://localhost/", "use an https:// URL"),
            ("https://a..localhost/", "label empty or too long"),
            ("https://*.localhost/", "gopacs-session: URL has an invalid label."),
        ],
    )
    def test_wrong_url(self, configured: Sandbox, url: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
        """A URL that cannot be right is a fault of usage, told in words of the command line."""
        assert main(["request", "GET", url]) == ExitCode.CONFIGURATION
        err = complaint(capsys)
        assert words in err
        assert "withhold_token" not in err
        assert configured.api_requests == []

    def test_unreachable(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """An API that is out of reach has an exit code of its own, and the system's reason."""
        with socket.socket() as bound:
            bound.bind(("localhost", 0))
            url = f"https://localhost:{bound.getsockname()[1]}/"
            assert main(["request", "-v", url]) == ExitCode.API_UNAVAILABLE
        first, *_, last = complaint(capsys).splitlines()
        assert (first, last) == (f"> GET {url}", f"gopacs-session: GET {url} failed: Connection refused.")

    def test_through_a_proxy(self, configured: Sandbox, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """If it goes through a proxy, that is named, without its password."""
        with proxying() as proxy:
            proxy.refusal = "403 Forbidden"
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", "//bob:hunter2@"))
            assert main(["request", "https://foreign.example/"]) == ExitCode.API_UNAVAILABLE
        failure = complaint(capsys).splitlines()[-1]
        assert failure.startswith(f"gopacs-session: GET https://foreign.example/ through {proxy.url} failed: ")
        assert "403 Forbidden" in failure

    @pytest.mark.parametrize(
        "url",
        [
            "http://bob:hunter2#x@127.0.0.1:3130",
            "http://bob:hunter2/x@127.0.0.1:3130",
            "http://bob:2/hunter2@127.0.0.1:3130",
            "http://bob:2#hunter2@127.0.0.1:3130",
            "http://bob:hunter2?x@127.0.0.1:3130",
            "http://bob:hunter2@127.0.0.1:99999",
            "ftp://bob:hunter2@127.0.0.1:3130",
            "http://bob:hunter2@",
            "http://bob:hunter2@/",
        ],
    )
    @pytest.mark.parametrize("command", [["token"], ["check"], ["check", "--json"], ["request", "https://x.example/"]])
    def test_malformed_proxy(
        self, configured: Sandbox, url: str, command: list[str], monkeypatch: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A proxy's URL that does not parse is a fault of configuration; its password is not told."""
        monkeypatch.setenv("HTTPS_PROXY", url)
        monkeypatch.setenv("NO_PROXY", "")
        assert main(command) == ExitCode.CONFIGURATION
        text = joined("".join(capsys.readouterr()))
        assert "percent-encoded" in text
        assert "hunter2" not in text

    @pytest.mark.parametrize(
        ("url", "code", "words"),
        [
            ("http://bob:hunter2/x@127.0.0.1:3130", ExitCode.CONFIGURATION, "percent-encoded"),
            ("http://bob:2#hunter2@127.0.0.1:3130", ExitCode.API_UNAVAILABLE, "GET http://x.example/ failed: "),
        ],
    )
    def test_malformed_proxy_after_a_redirect(
        self, configured: Sandbox, url: str, code: ExitCode, words: str, monkeypatch: Any, capsys: Any
    ) -> None:
        """Nor is the password of a proxy that only a redirect leads to."""
        configured.answer_next_api_requests(1, 302, headers={"Location": "http://x.example/"})
        monkeypatch.setenv("HTTP_PROXY", url)
        assert main(["request", configured.api_url]) == code
        err = complaint(capsys)
        assert words in err
        assert "hunter2" not in err

    def test_timeout(self, raw_api: Any) -> None:
        """--timeout is how long the API may take."""
        done = threading.Event()
        with raw_api(lambda _: [b""] if done.wait(20) else []) as url:
            assert main(["request", "GET", url, "--timeout", "0.1"]) == ExitCode.API_UNAVAILABLE
            done.set()

    def test_breaks_off(self, raw_api: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """An answer that breaks off has the exit code of an API that is out of reach."""
        with raw_api(raw(http(b"8\r\nhalf", "Transfer-Encoding: chunked"))) as url:
            assert main(["request", "GET", url]) == ExitCode.API_UNAVAILABLE
        assert capsys.readouterr().err.startswith("gopacs-session: ")

    def test_interrupted(self, raw_api: Any) -> None:
        """The body is printed as it arrives; Ctrl-C ends that quietly, with the exit code that shells use."""
        ended = threading.Event()

        def endless(_: bytes) -> Iterator[bytes]:
            yield http(b"5\r\nbegun\r\n", "Transfer-Encoding: chunked")
            ended.wait(20)

        with raw_api(endless) as url:
            process = subprocess.Popen([*COMMAND, "request", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            assert process.stdout
            assert process.stdout.read(5) == b"begun"
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=20)[1] == b""
            ended.set()
        assert process.returncode == ExitCode.INTERRUPTED


class TestOutput:
    @pytest.mark.parametrize(
        ("name", "value", "coloured"), [("NO_COLOR", "", True), ("NO_COLOR", "1", False), ("TERM", "dumb", False)]
    )
    def test_colours(self, configured: Sandbox, name: str, value: str, coloured: bool, monkeypatch: Any) -> None:
        """A terminal gets colours, unless it cannot show them or the user wants none."""
        monkeypatch.setenv(name, value)
        with terminal("check") as tty:
            shown = tty.read()
        label = "\u2713 credentials    "
        assert (f"\x1b[32m{label}\x1b[0maccepted" if coloured else f"{label}accepted") in shown
        assert ("\x1b" in shown) == coloured

    def test_width(self, configured: Sandbox, monkeypatch: Any, capsys: pytest.CaptureFixture[str]) -> None:
        """Lines are wrapped to the terminal, except for what cannot be broken."""
        monkeypatch.setenv("COLUMNS", "60")
        monkeypatch.setenv("GOPACS_CLIENT_SECRET", "wrong")
        assert main(["check"]) == ExitCode.CREDENTIALS_REFUSED
        assert max(len(line) for line in capsys.readouterr().out.splitlines()) <= 60

    def test_ascii(self, configured: Sandbox) -> None:
        """An output that takes ASCII only gets other marks."""
        result = run("check", env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert "+ credentials" in result.stdout
        assert "- clock" in result.stdout

    @pytest.mark.parametrize("arguments", [["--help"], ["token"], ["check"], ["request", "GET", "URL"], ["sandbox"]])
    def test_broken_pipe(self, configured: Sandbox, arguments: list[str]) -> None:
        """When nobody reads any more, as after `| head`, the command ends without a traceback."""
        reader, writer = os.pipe()
        os.close(reader)
        arguments = [argument.replace("URL", configured.api_url) for argument in arguments]
        result = run(*arguments, capture_output=False, stdout=writer, stderr=subprocess.PIPE)
        os.close(writer)
        assert (result.returncode, result.stderr) == (ExitCode.BROKEN_PIPE, "")

    @pytest.mark.parametrize(
        ("arguments", "code", "words"),
        [
            ("token <&-", ExitCode.CONFIGURATION, "GOPACS_CLIENT_SECRET is not set"),
            ("token --secret-stdin <&-", ExitCode.CONFIGURATION, "Standard input is closed."),
            ("request URL -d - <&-", ExitCode.CONFIGURATION, "GOPACS_CLIENT_SECRET is not set"),
            ("token >&-", ExitCode.BROKEN_PIPE, "Standard output is closed."),
            ("token 2>&-", ExitCode.CONFIGURATION, ""),
            ("token >&- 2>&-", ExitCode.BROKEN_PIPE, ""),
        ],
    )
    def test_closed(self, without_secret: Sandbox, arguments: str, code: ExitCode, words: str) -> None:
        """A stream that is closed is told, if that is possible."""
        result = in_shell(arguments.replace("URL", without_secret.api_url))
        assert (result.returncode, result.stdout) == (code, "")
        assert words in joined(result.stderr)
        assert "Traceback" not in result.stderr

    def test_no_streams_for_a_request(self, configured: Sandbox) -> None:
        """Without standard input and error a request is as good as with them."""
        result = in_shell(f"request -v {configured.api_url} <&- 2>&-")
        assert (result.returncode, json.loads(result.stdout)["method"]) == (ExitCode.SUCCESS, "GET")

    def test_broken_pipe_for_errors(self) -> None:
        """The same goes for standard error."""
        reader, writer = os.pipe()
        os.close(reader)
        result = run("token", capture_output=False, stdout=writer, stderr=writer)
        os.close(writer)
        assert result.returncode == ExitCode.BROKEN_PIPE


class TestCheck:
    def test_steps(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """Each step has its line with a mark, aligned; neither the secret nor a token is shown."""
        assert main(["check"]) == ExitCode.SUCCESS
        out = capsys.readouterr().out
        names = [line[2:17].strip() for line in out.splitlines() if line[0] != " "]
        assert names == ["configuration", "network", "name", "TLS", "clock", "credentials", "token", "client"]
        assert {line[0] for line in out.splitlines()} == {"\u2713", "\u00b7", " "}
        assert configured.client_secret not in out
        assert "eyJ" not in out

    def test_failure(self, configured: Sandbox, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
        """A step that fails has a cross and an advice, and its exit code is the command's."""
        monkeypatch.delenv("GOPACS_CA_BUNDLE")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
        assert main(["check"]) == ExitCode.CONFIGURATION
        out = capsys.readouterr().out
        assert "\u2717 network" in out
        assert "\u2192 REQUESTS_CA_BUNDLE must name" in out

    def test_json(self, configured: Sandbox, stdin: Any, monkeypatch: Any, capsys: Any) -> None:
        """--json prints one document with the same findings; options beat variables, and are told as the sources."""
        monkeypatch.setenv("GOPACS_CLIENT_ID", "another")
        monkeypatch.setenv("GOPACS_CLIENT_SECRET", "wrong")
        stdin(f"{configured.client_secret}\r\n".encode())
        assert main(["check", "--json", "--client-id", "sandbox", "--secret-stdin"]) == ExitCode.SUCCESS
        out = capsys.readouterr().out
        report = json.loads(out)
        assert report["passed"] is True
        steps = {step["step"]: step for step in report["steps"]}
        assert steps["configuration"]["details"]["sources"] == {
            "client_id": "--client-id",
            "client_secret": "--secret-stdin",
            "environment": "GOPACS_TOKEN_URL and GOPACS_API_DOMAINS",
        }
        assert steps["client"]["details"] == {"name": "sandbox", "roles": ["market-messages", "trading-company"]}
        assert steps["clock"]["passed"] is None
        assert configured.client_secret not in out

    def test_ca_bundle_of_a_preset(self, configured: Sandbox, monkeypatch: Any, capsys: Any) -> None:
        """GOPACS_CA_BUNDLE counts with --environment, too."""
        monkeypatch.setenv("GOPACS_CA_BUNDLE", configured.ca_file)
        with proxying() as proxy:
            proxy.refusal = "403 Forbidden"
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            assert main(["check", "--json", "--environment", "acceptance"]) == ExitCode.NO_TOKEN
        network = json.loads(capsys.readouterr().out)["steps"][1]
        assert network["text"].endswith(f"CA bundle {configured.ca_file} (GOPACS_CA_BUNDLE)")


class TestSandbox:
    @pytest.fixture(autouse=True)
    def state(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
        """The folder for what lasts, with a name that a shell would take apart; what a command does to signals ends."""
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "user's own state"))
        yield tmp_path / "user's own state" / "gopacs-session"
        for number, handler in handlers.items():
            signal.signal(number, handler)

    @pytest.fixture
    def port(self) -> str:
        return str(unassigned_port())

    def test_life(self, port: str, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What a shell has evaluated once points its programs at this sandbox, and at the one after a restart."""
        exports = run("sandbox", "--export", "--port", port)
        assert f"No sandbox runs on port {port} yet" in joined(exports.stderr)
        for name, value in HINDRANCES.items():
            monkeypatch.setenv(name, value)
        exports = run("sandbox", "--export", "--port", port)
        for number, life, options in (signal.SIGINT, 300, []), (signal.SIGTERM, 7, ["--token-lifetime", "7"]):
            command = [*COMMAND, "sandbox", "--port", port, *options]
            with subprocess.Popen(command, text=True, stdout=-1, stderr=-1) as process:
                assert process.stdout
                head = ""
                while "--oauth2-bearer" not in head:
                    head += process.stdout.readline() or pytest.fail("It ended.")
                assert run("sandbox", "--export", "--port", port).stderr == ""
                evaluated = ["sh", "-c", 'eval "$1"; shift; exec "$@"', "-", exports.stdout]
                assert f"lives {life} s" in subprocess.check_output([*evaluated, *COMMAND, "check"], text=True)
                assert sorted(path.name for path in state.iterdir()) == [f"ca-{port}.pem", "secret"]
                assert "PRIVATE" not in (state / f"ca-{port}.pem").read_text()
                process.send_signal(number)
                out, err = process.communicate(timeout=20)
            assert f'eval "$(gopacs-session sandbox --port {port} --export)"' in head
            assert "token   GET token: 405, tokens are asked for by POST\n" in out
            assert "token   POST token: 200, issued token 1\n" in out
            assert out.endswith("Stopped.\n")
            assert (err, process.returncode) == ("", ExitCode.SUCCESS)
        token = subprocess.run([*evaluated, *COMMAND, "token"], text=True, capture_output=True)
        assert "refused" in token.stderr
        assert token.returncode == ExitCode.NO_TOKEN
        assert state.stat().st_mode & 0o777 == 0o700
        assert (state / "secret").stat().st_mode & 0o777 == 0o600
        assert (state / "secret").read_text() not in exports.stdout

    def test_powershell(self, capsys: pytest.CaptureFixture[str], state: Path, monkeypatch: Any) -> None:
        """--export can speak PowerShell, and leads past a proxy."""
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        assert main(["sandbox", "--export", "powershell"]) == ExitCode.SUCCESS
        lines = capsys.readouterr().out.splitlines()
        assert "$env:GOPACS_CLIENT_SECRET = $null" in lines
        assert "$env:GOPACS_CLIENT_ID = 'sandbox'" in lines
        assert "$env:NO_PROXY = 'localhost'" in lines
        assert f"$env:GOPACS_CA_BUNDLE = '{state / 'ca-8443.pem'}'".replace("r's", "r''s") in lines

    def test_port_in_use(self, configured: Sandbox, capsys: pytest.CaptureFixture[str]) -> None:
        """A port that is taken is told in a line."""
        port = configured.api_url.rpartition(":")[2]
        assert main(["sandbox", "--port", port]) == ExitCode.CONFIGURATION
        assert complaint(capsys).startswith(f"gopacs-session: The sandbox cannot listen on 127.0.0.1:{port}")

    @pytest.mark.parametrize("command", ["sandbox", "demo"])
    def test_without_trustme(
        self, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Without the extra the command says what to install."""
        monkeypatch.setitem(sys.modules, "trustme", None)
        assert main([command]) == ExitCode.CONFIGURATION
        assert "pip install 'gopacs_session[sandbox]'" in complaint(capsys)


class TestDemo:
    @pytest.fixture(autouse=True)
    def brief(self, monkeypatch: pytest.MonkeyPatch, pauses: list[float], clock: Clock) -> None:
        """Time passes when the demo waits for it: for the session, and for the sandbox."""
        monkeypatch.setattr(gopacs_session.sandbox.realm, "monotonic", lambda: clock.monotonic)
        monkeypatch.setattr(gopacs_session.cli.demo, "sleep", clock.advance)

    def test_success(self, capsys: pytest.CaptureFixture[str]) -> None:
        """It ends well if every request succeeded, in lines that fit a terminal."""
        assert main(["demo"]) == ExitCode.SUCCESS
        out, err = capsys.readouterr()
        assert err == ""
        assert "14 of 14 requests succeeded, on 7 token requests; 0 API requests went out\n" in joined(out)
        assert "api     GET /on-the-stale-token with token 2: 200\n" in out
        assert "GET /on-the-renewed-token with token 3: 200\n" in out
        assert "GET /after-the-revocation with token 3: 401\n" in out
        assert "Try 3 of 3" in out
        assert max(len(line) for line in out.splitlines()) <= 80

    def test_failure(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        """If a request failed, the exit code says so."""

        class Faulty(Sandbox):
            def __enter__(self) -> Sandbox:
                super().__enter__()
                self.answer_next_api_requests(1, 500)
                return self

        monkeypatch.setattr(gopacs_session.cli.demo, "Sandbox", Faulty)
        assert main(["demo"]) == ExitCode.FAILURE
        out = capsys.readouterr().out
        assert "caller  GET /first: 500 Server Error" in out
        assert re.search(r"\b1[0-3] of 14 requests succeeded", out)


class TestCompletion:
    def test_bash(self, tmp_path: Path) -> None:
        """The script for bash knows commands, options and choices."""
        bash = shutil.which("bash")
        if bash is None:
            pytest.skip("there is no bash on this machine")
        script = tmp_path / "completion"
        script.write_text(run("completion", "bash").stdout)
        ask = """
            source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
            $(complete -p gopacs-session | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); echo "${COMPREPLY[@]}"
        """

        def complete(*words: str) -> str:
            return subprocess.check_output([bash, "-c", ask, "-", script, *words], text=True).strip()

        assert complete("gopacs-session", "re") == "request"
        assert complete("gopacs-session", "token", "--sec") == "--secret-stdin"
        assert complete("gopacs-session", "check", "--environment", "acc") == "acceptance"

    @pytest.mark.parametrize(
        ("shell", "line"),
        [
            ("bash", "request___output_COMPGEN=_shtab_compgen_files"),
            ("zsh", "--output.*:_files"),
            ("tcsh", "--output=?/f/"),
        ],
    )
    def test_shells(self, shell: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
        """There is a script for each shell, which offers files for -o and its like."""
        assert main(["completion", shell]) == ExitCode.SUCCESS
        assert re.search(line, capsys.readouterr().out)

    def test_without_shtab(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        """Without the extra the command says what to install."""
        monkeypatch.setitem(sys.modules, "shtab", None)
        assert main(["completion", "bash"]) == ExitCode.CONFIGURATION
        assert "pip install 'gopacs_session[completion]'" in capsys.readouterr().err
