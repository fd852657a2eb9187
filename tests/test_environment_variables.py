from __future__ import annotations

import inspect
import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from gopacs_session import (
    ACCEPTANCE,
    PRODUCTION,
    ConfigurationError,
    Environment,
    GopacsSession,
    TokenRequestError,
    environment_variables,
)
from gopacs_session.environment_variables import SecretFile
from gopacs_session.sandbox import Sandbox

COMPLETE = {"GOPACS_CLIENT_ID": "trader", "GOPACS_CLIENT_SECRET": "s3cret", "GOPACS_ENVIRONMENT": "acceptance"}
SECRET = "s3cret-in-a-file"


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in COMPLETE.items() if name not in names}


def complaints(environ: dict[str, str], **options: object) -> list[str]:
    """The lines of the error below its first."""
    with pytest.raises(ConfigurationError) as caught:
        GopacsSession.from_env(environ, **options)
    first, *lines = str(caught.value).splitlines()
    assert first == "The environment variables configure no session:"
    return [line.strip() for line in lines]


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    return path


@pytest.fixture
def sandbox_variables(sandbox: Sandbox) -> dict[str, str]:
    return environment_variables.variables(sandbox.client_id, sandbox.client_secret, sandbox.environment)


class TestWhatIsRead:
    def test_the_preset(self) -> None:
        """Id, secret and the name of a preset, in any case, make a session of it."""
        session = GopacsSession.from_env({**COMPLETE, "GOPACS_ENVIRONMENT": "Acceptance"})
        assert (session.client_id, session.environment) == ("trader", ACCEPTANCE)

    def test_production_is_the_default(self) -> None:
        """Without an environment it is production, as in the class itself."""
        assert GopacsSession.from_env(without("GOPACS_ENVIRONMENT")).environment is PRODUCTION

    def test_another_environment(self) -> None:
        """A token URL and API domains make an environment that is called after the host."""
        environ = without("GOPACS_ENVIRONMENT")
        environ |= {"GOPACS_TOKEN_URL": "https://auth.example:8443?x", "GOPACS_API_DOMAINS": "a.example, b.example,"}
        environment = GopacsSession.from_env(environ).environment
        assert environment.name == "auth.example:8443"
        assert environment.token_url == "https://auth.example:8443?x"
        assert environment.api_domains == ("a.example", "b.example")

    def test_the_process_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without an argument the variables of the process are read."""
        for name, value in COMPLETE.items():
            monkeypatch.setenv(name, value)
        assert GopacsSession.from_env().client_id == "trader"

    def test_stray_line_ends(self, sandbox: Sandbox, sandbox_variables: dict[str, str]) -> None:
        """White space around values, as files with CRLF leave it, does no harm; blanks in a secret are its own."""
        sandbox.client_secret = " s3cret "
        environ = {name: f" {value}\r\n" for name, value in sandbox_variables.items()}
        environ["GOPACS_CLIENT_SECRET"] = " s3cret \r\n"
        with GopacsSession.from_env(environ) as session:
            sandbox.trust(session)
            assert session.get(sandbox.api_url).ok

    def test_variables(self, sandbox: Sandbox, sandbox_variables: dict[str, str]) -> None:
        """What `variables` writes makes a session that works."""
        with GopacsSession.from_env(sandbox_variables) as session:
            sandbox.trust(session)
            assert session.get(sandbox.api_url).ok

    def test_subclass(self) -> None:
        """A subclass makes sessions of its own class."""

        class Own(GopacsSession):
            pass

        assert type(Own.from_env(COMPLETE)) is Own


class TestCaBundle:
    """GOPACS_CA_BUNDLE."""

    def test_trusted(self, sandbox: Sandbox, sandbox_variables: dict[str, str]) -> None:
        """It is trusted for the environment's hosts, and nothing else is needed to reach them."""
        environ = {**sandbox_variables, "GOPACS_CA_BUNDLE": sandbox.ca_file}
        with GopacsSession.from_env(environ) as session:
            assert session.get(sandbox.api_url).ok

    def test_with_a_preset(self, secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A preset keeps everything else; a relative path stays good when the process changes its directory."""
        monkeypatch.chdir(secret_file.parent)
        environment = GopacsSession.from_env({**COMPLETE, "GOPACS_CA_BUNDLE": "secret"}).environment
        assert environment == replace(ACCEPTANCE, ca_bundle=str(secret_file))

    def test_round_trip(self, secret_file: Path) -> None:
        """`variables` writes it if the environment has one."""
        environment = Environment("own.example", "https://own.example", ("own.example",), str(secret_file))
        environ = environment_variables.variables("trader", "s3cret", environment)
        assert environment_variables.read(environ).arguments["environment"] == environment

    def test_missing(self, tmp_path: Path) -> None:
        """A path that does not exist is a fault at once, and named."""
        path = tmp_path / "ca.pem"
        assert complaints({**COMPLETE, "GOPACS_CA_BUNDLE": str(path)}) == [
            f"GOPACS_CA_BUNDLE names {path}, which does not exist."
        ]


class TestOptions:
    def test_passed_on(self) -> None:
        """Other arguments of the class go to it as they are."""
        session = GopacsSession.from_env(COMPLETE, scope="profile", leeway=5, token_timeout=3, timeout=None)
        assert (session.scope, session.token_timeout, session.timeout) == ("profile", 3, None)

    def test_win(self) -> None:
        """Arguments beat variables, even wrong ones."""
        environ = {"GOPACS_CLIENT_ID": "", "GOPACS_CLIENT_SECRET_FILE": "/nowhere", "GOPACS_TOKEN_URL": "nonsense"}
        session = GopacsSession.from_env(environ, client_id="own", client_secret="own", environment="acceptance")
        assert (session.client_id, session.environment) == ("own", ACCEPTANCE)

    def test_unknown(self) -> None:
        """An argument that the class lacks is a TypeError, as there."""
        with pytest.raises(TypeError, match="scopes"):
            GopacsSession.from_env(COMPLETE, scopes="profile")

    def test_misspelt(self) -> None:
        """A misspelt argument is named, not only the variable that was looked for in its place."""
        assert complaints(without("GOPACS_CLIENT_ID"), clientid="own", qqq=1) == [
            "clientid is not an option: did you mean client_id?",
            "qqq is not an option.",
            "GOPACS_CLIENT_ID is not set.",
        ]

    def test_known(self) -> None:
        """The options are the arguments of the class."""
        assert set(environment_variables.OPTIONS) == set(inspect.signature(GopacsSession).parameters)


class TestFaults:
    def test_nothing_is_set(self) -> None:
        """What is missing is named, all of it at once."""
        assert complaints({}) == [
            "GOPACS_CLIENT_ID is not set.",
            "GOPACS_CLIENT_SECRET is not set, and neither is GOPACS_CLIENT_SECRET_FILE.",
        ]

    def test_everything_is_empty(self) -> None:
        """A variable that is set but empty is at fault, not absent."""
        lines = complaints(dict.fromkeys(environment_variables.NAMES, " "))
        assert [line for line in lines if line.endswith("is empty.")] == [
            f"{name} is empty." for name in environment_variables.NAMES
        ]

    def test_both_secrets(self, secret_file: Path) -> None:
        """A secret and a file with one contradict each other."""
        assert complaints({**COMPLETE, "GOPACS_CLIENT_SECRET_FILE": str(secret_file)}) == [
            "GOPACS_CLIENT_SECRET and GOPACS_CLIENT_SECRET_FILE are both set: use one or the other."
        ]

    @pytest.mark.parametrize(
        ("own", "named"),
        [
            ({"GOPACS_TOKEN_URL": "https://x"}, "GOPACS_TOKEN_URL"),
            ({"GOPACS_API_DOMAINS": "x"}, "GOPACS_API_DOMAINS"),
            ({"GOPACS_TOKEN_URL": "https://x", "GOPACS_API_DOMAINS": "x"}, "GOPACS_TOKEN_URL and GOPACS_API_DOMAINS"),
        ],
    )
    def test_preset_and_another(self, own: dict[str, str], named: str) -> None:
        """A preset and a token URL or API domains contradict each other."""
        assert complaints({**COMPLETE, **own}) == [
            f"GOPACS_ENVIRONMENT is set together with {named}: use one or the other."
        ]

    @pytest.mark.parametrize(
        ("name", "value", "missing"),
        [("GOPACS_TOKEN_URL", "https://x", "GOPACS_API_DOMAINS"), ("GOPACS_API_DOMAINS", "x", "GOPACS_TOKEN_URL")],
    )
    def test_half_an_environment(self, name: str, value: str, missing: str) -> None:
        """A token URL needs API domains, and they need it."""
        assert complaints({**without("GOPACS_ENVIRONMENT"), name: value}) == [f"{name} is set without {missing}."]

    def test_malformed(self) -> None:
        """What is no preset, no https URL and no host names is named; the values are not."""
        environ = {
            **COMPLETE,
            "GOPACS_ENVIRONMENT": "qqq",
            "GOPACS_TOKEN_URL": "http://qqq",
            "GOPACS_API_DOMAINS": "/qqq",
        }
        lines = complaints(environ)
        assert lines == [
            "GOPACS_ENVIRONMENT is set together with GOPACS_TOKEN_URL and GOPACS_API_DOMAINS: use one or the other.",
            "GOPACS_ENVIRONMENT is neither acceptance nor production.",
            "GOPACS_TOKEN_URL is not a plain https:// URL.",
            "GOPACS_API_DOMAINS is not a list of host names, separated by commas.",
        ]
        assert "qqq" not in str(lines)

    def test_no_domains_between_commas(self) -> None:
        """A list of nothing but commas holds no host name."""
        environ = {**without("GOPACS_ENVIRONMENT"), "GOPACS_TOKEN_URL": "https://x", "GOPACS_API_DOMAINS": ","}
        assert complaints(environ) == ["GOPACS_API_DOMAINS is not a list of host names, separated by commas."]

    @pytest.mark.parametrize(
        ("content", "fault"),
        [
            (None, "cannot be read: No such file or directory."),
            (b"\r\n", "is empty."),
            ("sécret".encode("utf-16"), "is not UTF-8 text."),
        ],
    )
    def test_secret_file(self, tmp_path: Path, content: bytes | None, fault: str) -> None:
        """A file that holds no secret is a fault at once, told with its path and without its content."""
        path = tmp_path / "secret"
        if content is not None:
            path.write_bytes(content)
        environ = {**without("GOPACS_CLIENT_SECRET"), "GOPACS_CLIENT_SECRET_FILE": str(path)}
        assert complaints(environ) == [f"GOPACS_CLIENT_SECRET_FILE names {path}, which {fault}"]

    @pytest.mark.parametrize("value", ["s3cret", "s3c/ret"])
    def test_secret_instead_of_a_file(self, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What may be the secret itself, in the wrong variable, is not quoted; where it leads to is."""
        monkeypatch.chdir(tmp_path)
        environ = {**without("GOPACS_CLIENT_SECRET"), "GOPACS_CLIENT_SECRET_FILE": value}
        assert complaints(environ) == [
            f"GOPACS_CLIENT_SECRET_FILE names a file in {tmp_path}, which cannot be read: No such file or directory."
        ]

    def test_a_directory(self, tmp_path: Path) -> None:
        """A path that cannot be read is a fault with the system's reason."""
        environ = {**without("GOPACS_CLIENT_SECRET"), "GOPACS_CLIENT_SECRET_FILE": str(tmp_path)}
        [line] = complaints(environ)
        assert line.startswith(f"GOPACS_CLIENT_SECRET_FILE names {tmp_path}, which cannot be read: ")

    def test_no_file_content_hangs_on_the_error(self, tmp_path: Path) -> None:
        """Nothing that hangs on the error holds what stood in the file."""
        path = tmp_path / "secret"
        path.write_bytes(b"\xff" + SECRET.encode())
        with pytest.raises(ConfigurationError) as caught:
            GopacsSession.from_env({**without("GOPACS_CLIENT_SECRET"), "GOPACS_CLIENT_SECRET_FILE": str(path)})
        assert caught.value.__context__ is None
        assert caught.value.__cause__ is None


class TestSecretFile:
    @pytest.mark.parametrize("content", [SECRET, f"{SECRET}\n", f"{SECRET}\r\n", f"\ufeff{SECRET}\n"])
    def test_line_end(self, secret_file: Path, content: str) -> None:
        """A line end after the secret, and a byte order mark before it, are no part of it."""
        secret_file.write_bytes(content.encode())
        assert SecretFile(str(secret_file))() == SECRET

    def test_blanks(self, secret_file: Path) -> None:
        """Blanks around the secret are part of it."""
        secret_file.write_bytes(b"  blank \n")
        assert SecretFile(str(secret_file))() == "  blank "

    def test_rotation(self, sandbox: Sandbox, sandbox_variables: dict[str, str], secret_file: Path) -> None:
        """The file is read again for each token, so a new secret needs no new session."""
        secret_file.write_text(f"{sandbox.client_secret}\n")
        del sandbox_variables["GOPACS_CLIENT_SECRET"]
        with GopacsSession.from_env({**sandbox_variables, "GOPACS_CLIENT_SECRET_FILE": str(secret_file)}) as session:
            sandbox.trust(session)
            session.fetch_token()
            sandbox.client_secret = "rotated"
            secret_file.write_text("rotated\n")
            session.fetch_token()
        assert [exchange.status for exchange in sandbox.token_requests] == [200, 200]

    def test_gone(self, sandbox: Sandbox, sandbox_variables: dict[str, str], secret_file: Path) -> None:
        """If the file cannot be read when a token is needed, the token request fails, and nothing is sent."""
        del sandbox_variables["GOPACS_CLIENT_SECRET"]
        with GopacsSession.from_env({**sandbox_variables, "GOPACS_CLIENT_SECRET_FILE": str(secret_file)}) as session:
            secret_file.unlink()
            with pytest.raises(TokenRequestError, match="FileNotFoundError"):
                session.fetch_token()
        assert sandbox.token_requests == []

    def test_pickle_and_repr(self, secret_file: Path) -> None:
        """A pickled session reads the file where it wakes up; no secret is in the pickle, and none in a repr."""
        environ = {**without("GOPACS_CLIENT_SECRET"), "GOPACS_CLIENT_SECRET_FILE": str(secret_file)}
        pickled = pickle.dumps(GopacsSession.from_env(environ))
        assert SECRET.encode() not in pickled
        assert pickle.loads(pickled).client_id == "trader"
        found = environment_variables.read(environ)
        assert SECRET not in repr(found) + repr(found.arguments["client_secret"])

    def test_relative_path(self, secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A relative path stays good when the process changes its directory."""
        monkeypatch.chdir(secret_file.parent)
        environ = {**without("GOPACS_CLIENT_SECRET"), "GOPACS_CLIENT_SECRET_FILE": "secret"}
        secret = environment_variables.read(environ).arguments["client_secret"]
        monkeypatch.chdir(os.sep)
        assert secret() == SECRET


class TestSources:
    def test_where_it_is_from(self, secret_file: Path) -> None:
        """Each argument's source is told by name."""
        environ = {"GOPACS_CLIENT_ID": "trader", "GOPACS_CLIENT_SECRET_FILE": str(secret_file)}
        assert environment_variables.read(environ).sources == {
            "client_id": "GOPACS_CLIENT_ID",
            "client_secret": "GOPACS_CLIENT_SECRET_FILE",
            "environment": "the default",
        }

    def test_no_secret_in_repr(self) -> None:
        """The repr of a configuration shows no secret."""
        assert "s3cret" not in repr(environment_variables.read(COMPLETE))
