"""The documentation: its examples run, and nothing that a user can name is missing.

Each page is read from top to bottom by a reader who has an account in acceptance: its name is ``my-api-client``, its
secret ``its-secret``. In truth a proxy leads every host of GOPACS to a sandbox.

- ``python`` blocks of a page share their variables. Those with tests are files of one run of pytest, and those with a
  ``__main__`` are programs of their own.
- ``sh`` blocks run in a shell.
- An ``output`` block is what the block before it prints.
- A block that cannot run says why, in a comment before it: ``<!-- not run: reason -->``.
"""

from __future__ import annotations

import argparse
import inspect
import io
import logging
import os
import re
import runpy
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

import gopacs_session
import gopacs_session.sandbox
from gopacs_session import environment_variables
from gopacs_session.cli.exit_code import ExitCode
from gopacs_session.cli.parser import parser
from gopacs_session.sandbox import Sandbox

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PACKAGE = Path(gopacs_session.__file__).parent
README = TOP / "README.md"  # whose commands .ci/run runs
CONTRIBUTING = (TOP / "CONTRIBUTING.md").read_text(encoding="utf-8")
PAGES = [README, *sorted(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)]
# Its examples are pieces of tests/neighbours, which need the packages that the page is about.
TESTED_ELSEWHERE = {DOCS / "reference" / "neighbours.md"}
# A reader of this page has started a sandbox, at this port, and evaluated what --export printed.
ON_THE_SANDBOX = {DOCS / "tutorial" / "sandbox.md"}
WIDTH = 88  # characters of code beside the table of contents, in a window of 1280 pixels
PORT_ON_PAGES = "localhost:8443"
PYTEST = [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider"]

BLOCK = re.compile(
    r"^(?:(?P<margin> *)<!-- not run: (?P<reason>[^\n]+) -->\n)?"
    r"(?P<indent> *)```(?P<language>[^`\n]*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
VARYING = (  # from one run, or one machine, to the next
    (r"\S+\.pem", "A.pem"),
    (r"\d+\.\d+ s\b", "0.01 s"),
    (r"trustme v[\d.]+, until [\d-]+ \(\d+ days\)", "trustme"),
    (r"TLSv1\.\d", "TLS"),
    (r"python-requests/[\d.]+", "requests"),
    (r"gzip, deflate[^\"']*", "gzip"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page; `line` counts from 0."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(TOP)}:{self.line + 1}"


def blocks(page: Path) -> list[Block]:
    found = []
    content = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(content):
        text = re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        line = content.count("\n", 0, match.start("text"))
        found.append(Block(page, line, match["language"], text, match["reason"]))
    return found


# -- the examples ----------------------------------------------------------------------------------------------------


class ToTheSandbox(socketserver.StreamRequestHandler):
    """A proxy's connection, which ends at the sandbox whichever host of GOPACS it was meant for."""

    server: Proxy

    def handle(self) -> None:
        method, target, *_ = self.rfile.readline().decode().split()
        while self.rfile.readline().strip():
            pass
        if method != "CONNECT" or not target.endswith(".gopacs-services.eu:443"):
            self.wfile.write(b"HTTP/1.1 502 No such host in this test\r\n\r\n")
            return
        with socket.create_connection(("localhost", self.server.port)) as sandbox:
            self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=relay, args=[sandbox, self.connection])
            back.start()
            relay(self.connection, sandbox)
            back.join()


def relay(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


class Proxy(socketserver.ThreadingTCPServer):
    def __init__(self, port: int) -> None:
        self.port = port
        super().__init__(("127.0.0.1", 0), ToTheSandbox)


class Reader:
    """Somebody who tries what a page says.

    Args:
        port: of the sandbox.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._variables: dict[str, Any] = {"__name__": "a page"}
        self.skipped: list[str] = []

    def read(self, page: Path) -> None:
        """Run the blocks of a page, and compare what they print."""
        printed = None
        for block in blocks(page):
            if block.reason:
                printed = None
            elif block.language == "output":
                assert printed is not None, f"{block} follows nothing that was run"
                assert settled(printed) == settled(block.text), str(block)
            elif block.language == "python" and re.search(r"^def test_", block.text, re.MULTILINE):
                printed = None
                file(block, block.text)
            elif block.language == "python" or (block.language == "sh" and page != README):
                printed = self._run(block)
        if list(Path().glob("test_*.py")):
            self._output(PYTEST, page)

    def close(self) -> None:
        for value in self._variables.values():
            if isinstance(value, requests.Session):
                value.close()

    def _run(self, block: Block) -> str:
        code = block.text.replace(PORT_ON_PAGES, f"localhost:{self._port}")
        if block.language == "sh":
            printed = self._shell(block, code)
        elif "__main__" in code:
            printed = self._output([sys.executable, file(block, code)], block)
        else:
            printed = self._here(block, code)
        return printed.replace(f"localhost:{self._port}", PORT_ON_PAGES)

    def _here(self, block: Block, code: str) -> str:
        # With as many empty lines before it as there are lines on the page, a traceback shows the page's.
        program = compile("\n" * block.line + code, str(block.page), "exec", dont_inherit=True)
        with redirect_stdout(io.StringIO()) as output:
            exec(program, self._variables)  # noqa: S102
        return output.getvalue()

    def _shell(self, block: Block, code: str) -> str:
        shell = shutil.which("sh")
        if shell is None or ("curl " in code and shutil.which("curl") is None):
            self.skipped.append(f"{block}: no {'curl' if shell else 'shell'} here")
            return ""
        return self._output([shell, "-euc", code], block)

    @staticmethod
    def _output(command: list[str], source: Block | Path) -> str:
        process = subprocess.run(command, capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=60)
        assert process.returncode == 0, f"{source}\n{process.stdout}\n{process.stderr}"
        return process.stdout


def file(block: Block, code: str) -> str:
    """The name of a file that holds the code of a block."""
    name = f"{'program' if '__main__' in code else 'test'}_line_{block.line + 1}.py"
    Path(name).write_text(code, encoding="utf-8")
    return name


def settled(text: str) -> str:
    """The text as it is in every run, in one line."""
    text = " ".join(text.split())
    for pattern, constant in VARYING:
        text = re.sub(pattern, constant, text)
    return text


@pytest.fixture
def gopacs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox behind GOPACS's own names, for all programs that this process starts, and a folder to work in."""
    issue = trustme.CA.issue_cert
    names = ("*.gopacs-services.eu", "*.acc.gopacs-services.eu")
    monkeypatch.setattr(trustme.CA, "issue_cert", lambda ca, *own: issue(ca, *own, *names))
    (tmp_path / "gopacs-secret").write_text("its-secret\n")
    (tmp_path / "message.xml").write_text("<SignedMessage/>")
    monkeypatch.chdir(tmp_path)
    with Sandbox(client_id="my-api-client", client_secret="its-secret") as sandbox:
        proxy = Proxy(port_of(sandbox))
        threading.Thread(target=proxy.serve_forever, args=[0.01]).start()
        settings = {
            "HTTPS_PROXY": f"http://127.0.0.1:{proxy.server_address[1]}",
            "NO_PROXY": "localhost,127.0.0.1",
            "REQUESTS_CA_BUNDLE": sandbox.ca_file,
            "CURL_CA_BUNDLE": sandbox.ca_file,
            "SSL_CERT_FILE": sandbox.ca_file,
            "HOME": str(tmp_path),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONUTF8": "1",
            "COLUMNS": "80",
            "GOPACS_CLIENT_ID": "my-api-client",
            "GOPACS_CLIENT_SECRET": "its-secret",
            "GOPACS_ENVIRONMENT": "acceptance",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield sandbox
        proxy.shutdown()
    proxy.server_close()


def port_of(sandbox: Sandbox) -> int:
    return int(sandbox.api_url.rpartition(":")[2])


@pytest.fixture
def quiet() -> Iterator[None]:
    """What a page does to the log ends with it."""
    root, logs = logging.getLogger(), [logging.getLogger(name) for name in ("gopacs_session", "urllib3")]
    levels, handlers = [log.level for log in logs], root.handlers[:]
    yield
    root.handlers[:] = handlers
    for log, level in zip(logs, levels, strict=True):
        log.setLevel(level)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("page", [page for page in PAGES if page not in TESTED_ELSEWHERE], ids=lambda page: page.stem)
def test_the_examples_of_a_page(page: Path, gopacs: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page shows can be typed, works, and prints what the page says."""
    if page in ON_THE_SANDBOX:
        monkeypatch.delenv("GOPACS_ENVIRONMENT")
        gopacs.client_id = "sandbox"
        for name, value in environment_variables.variables("sandbox", "", gopacs.environment).items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("GOPACS_CLIENT_SECRET")
        monkeypatch.setenv("GOPACS_CLIENT_SECRET_FILE", "gopacs-secret")
    reader = Reader(port_of(gopacs))
    try:
        reader.read(page)
    finally:
        reader.close()
    if reader.skipped:
        pytest.skip("; ".join(reader.skipped))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_block_says_what_it_is(page: Path) -> None:
    """Each block is Python, shell, output, a file or plain text, or a directive of Sphinx; and no wider than a page."""
    for block in blocks(page):
        assert re.fullmatch(r"python|sh|powershell|output|docker|yaml|text|\{\w.*", block.language), str(block)
        if page != README and block.language in ("python", "sh", "powershell", "text"):
            assert max(map(len, block.text.splitlines())) <= WIDTH, str(block)


# -- nothing is missing ----------------------------------------------------------------------------------------------


def reference(name: str) -> str:
    return (DOCS / "reference" / f"{name}.md").read_text(encoding="utf-8")


def public_names(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if name[0] != "_" and not inspect.ismodule(value)]


@pytest.mark.parametrize("module", [gopacs_session, gopacs_session.sandbox], ids=lambda module: module.__name__)
def test_every_public_name_is_in_the_reference(module: Any) -> None:
    """The API reference takes in each name that the package exports."""
    documented = set(re.findall(rf":: (?:{module.__name__}\.)?(\w+)(?:\(\))?$", reference("api"), re.MULTILINE))
    assert documented.issuperset(set(public_names(module)) - {"sandbox"})


def test_the_presets_are_those_of_the_reference() -> None:
    """The API reference tells the token endpoint and the API domains of each preset."""
    for preset in (gopacs_session.ACCEPTANCE, gopacs_session.PRODUCTION):
        text = reference("api").partition(f":: {preset.name.upper()}\n")[2].partition("\n.. ")[0]
        assert [preset.token_url, *preset.api_domains] == re.findall(r"``(.+?)``", text)


@pytest.mark.parametrize("name", sorted({*public_names(gopacs_session), "Sandbox", "Exchange"}))
def test_every_public_member_has_a_docstring(name: str) -> None:
    """The API reference shows members with a docstring, so that each must have one."""
    thing = getattr(gopacs_session, name, None) or getattr(gopacs_session.sandbox, name)
    for member, value in vars(thing if inspect.isclass(thing) else type(thing)).items():
        if member[0] != "_" and (callable(value) or isinstance(value, (property, classmethod, staticmethod))):
            assert value.__doc__, f"{name}.{member}"


def test_every_error_is_explained() -> None:
    """The page about errors has a section for each exception, and quotes no message that does not exist."""
    text = reference("errors")
    explained = re.findall(r"^## `(\w+)`$", text, re.MULTILINE)
    exported = [getattr(gopacs_session, name) for name in public_names(gopacs_session)]
    assert sorted(explained) == sorted(
        thing.__name__ for thing in exported if inspect.isclass(thing) and issubclass(thing, Exception)
    )
    for message in re.findall(r"^\| `([^`]+)`", text, re.MULTILINE):
        assert message in sources()


def test_every_command_and_option_is_documented() -> None:
    """Each command has a section, which names its options, and none that it does not have."""
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", reference("command-line"), re.DOTALL | re.MULTILINE))
    shared = options_in(sections.pop("Credentials"))
    [commands] = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    assert sections.keys() == commands.choices.keys()
    for name, command in commands.choices.items():
        used = shared if any(group.title == "credentials" for group in command._action_groups) else set()
        assert options_in(sections[name]) | used == {*options_of(command)} - {"-h", "--help"}, name
    assert options_in(reference("command-line").partition("\n## ")[0]) == {"-h", "--help", "--version"}


def options_in(text: str) -> set[str]:
    """The terms of the definition lists, each without its value."""
    terms = re.findall(r"^(`.+`)\n: ", text, re.MULTILINE)
    return {option for term in terms for option in re.findall(r"`([-\w]+)[^`]*`", term)}


def options_of(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        yield from action.option_strings or [str(action.metavar or action.dest)]


def test_every_environment_variable_is_documented() -> None:
    """The page has a row for each variable that the code reads, and the documentation speaks of no other."""
    documented = set(re.findall(r"`([A-Z_]{4,})`(?=[^|\n]*\|)", reference("environment-variables")))
    read = set(re.findall(r"environ(?:\.get\(|\[)\"(\w+)\"", sources())) - {"TERM", "WT_SESSION"}
    assert documented >= read | set(environment_variables.NAMES)
    everywhere = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert set(re.findall(r"\bGOPACS_[A-Z_]+\b", everywhere)) == set(environment_variables.NAMES)


def test_every_exit_code_is_documented() -> None:
    """The table has each exit code with its name and meaning, and no other."""
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| (.+)\. \|$", reference("exit-codes"), re.MULTILINE)
    assert [(int(code), name, meaning.lower()) for code, name, meaning in rows] == [
        (code.value, code.name, code.meaning.lower()) for code in ExitCode
    ]


def test_every_log_message_is_documented() -> None:
    """The page about logging quotes each message that the library logs."""
    page = reference("logging")
    for level, message in re.findall(r"\blog\.(\w+)\(\s*\"([^\"]+)\"", sources()):
        words = ".*".join(re.escape(part) for part in re.split(r"%\.?\d*[sdf]", message))
        assert re.search(rf"^\| {level.upper()} \| `.*{words.strip()}.*`", page, re.MULTILINE), message


def test_every_file_is_on_the_map() -> None:
    """CONTRIBUTING says of each file of the package what it is for."""
    on_the_map = re.findall(r"`(\w+)\.py`", CONTRIBUTING.partition("answers one question")[2])
    assert sorted(path.stem for path in PACKAGE.glob("*.py")) == sorted(on_the_map)


def test_imports_go_down_the_map() -> None:
    """A file of the map's table imports only from those below it."""
    rows = re.findall(r"^\| (`\w+\.py`.*?) \|", CONTRIBUTING, re.MULTILINE)
    levels = {name: level for level, row in enumerate(rows) for name in re.findall(r"`(\w+)\.py`", row)}
    for name, level in levels.items():
        code = (PACKAGE / f"{name}.py").read_text(encoding="utf-8")
        for imported in re.findall(r"^from \.(\w+) import|^from \. import (\w+)", code, re.MULTILINE):
            assert levels["".join(imported)] > level, name


def test_every_reason_of_a_refusal_is_explained() -> None:
    """The page about 401 and 403 has a row for each reason that the log gives for a refusal that stands."""
    page = (DOCS / "how-to" / "refusals.md").read_text(encoding="utf-8")
    for reason in re.findall(r"not_mended\(\w+, \"(.+)\.\"\)", sources()):
        assert f"| `{reason}` |" in page


def sources() -> str:
    return "".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))


def test_the_pictures_are_those_that_the_script_draws() -> None:
    """The SVG files are what docs/pictures/draw.py writes today."""
    for name, draw in runpy.run_path(str(DOCS / "pictures" / "draw.py"))["PICTURES"].items():
        assert (DOCS / "pictures" / name).read_text(encoding="utf-8") == draw(), name
