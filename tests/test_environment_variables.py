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
    GopacsSession,
    TokenRequestError,
    environment_variables,
)
from gopacs_session.environment_variables import SecretFile
from gopacs_session.sandbox import Sandbox

COMPLETE = {"GOPACS_CLIENT_ID": "trader", "GOPACS_CLIENT_SECRET": "s3cret", "GOPACS_ENVIRONMENT": "acceptance"}
SECRET = "s3cret-in-a-file"
ELSEWHERE = f"{__file__}.pem"


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in COMPLETE.items() if name not in names}


def with_file(path: object) -> dict[str, str]:
    return {**without("GOPACS_CLIENT_SECRET"), "GOPACS_CLIENT_SECRET_FILE": str(path)}


def complaints(environ: dict[str, str], **options: object) -> list[str]:
    """The lines of the error below its first; nothing hangs on it that might hold what stood in a file."""
    with pytest.raises(ConfigurationError) as caught:
        GopacsSession.from_env(environ, **options)
    assert caught.value.__context__ is caught.value.__cause__ is None
    first, *lines = str(caught.value).splitlines()
    assert first == "The environment variables configure no session:"
    return [line.strip() for line in lines]


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    return path


class TestWhatIsRead:
    def test_the_preset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The process's id, secret and name of a preset, in any case, make a session, a subclass's if that is asked."""

        class Own(GopacsSession):
            pass

        for name, value in {**COMPLETE, "GOPACS_ENVIRONMENT": "Acceptance"}.items():
            monkeypatch.setenv(name, value)
        session = Own.from_env()
        assert (type(session), session.client_id, session.environment) == (Own, "trader", ACCEPTANCE)

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

    def test_stray_line_ends(self, sandbox: Sandbox) -> None:
        """What `variables` writes makes a session that works; white space around it does no harm, but in a secret."""
        sandbox.client_secret = " s3cret "
        settings = environment_variables.variables(sandbox.client_id, sandbox.client_secret, sandbox.environment)
        environ = {name: f" {value}\r\n" for name, value in settings.items()}
        environ["GOPACS_CLIENT_SECRET"] = " s3cret \r\n"
        with GopacsSession.from_env(environ) as session:
            assert session.get(sandbox.api_url).ok

    def test_relative_paths(self, secret_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Relative paths stay good when the process changes its directory; with a CA bundle a preset keeps the rest."""
        monkeypatch.chdir(secret_file.parent)
        found = environment_variables.read({**with_file("secret"), "GOPACS_CA_BUNDLE": "secret"}).arguments
        monkeypatch.chdir(os.sep)
        assert found["client_secret"]() == SECRET
        assert found["environment"] == replace(ACCEPTANCE, ca_bundle=str(secret_file))

    def test_sources(self, secret_file: Path) -> None:
        """Each argument's source is told by name."""
        assert environment_variables.read(with_file(secret_file)).sources == {
            "client_id": "GOPACS_CLIENT_ID",
            "client_secret": "GOPACS_CLIENT_SECRET_FILE",
            "environment": "GOPACS_ENVIRONMENT",
        }
        assert environment_variables.read(without("GOPACS_ENVIRONMENT")).sources == {
            "client_id": "GOPACS_CLIENT_ID",
            "client_secret": "GOPACS_CLIENT_SECRET",
            "environment": "the default",
        }


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
        """A misspelt argument is named, and no other; not only the variable that was looked for in its place."""
        assert complaints(without("GOPACS_CLIENT_ID"), clientid="own", qqq=1, leeway=5) == [
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

    @pytest.mark.parametrize(
        ("environ", "fault"),
        [
            (
                {**COMPLETE, "GOPACS_CLIENT_SECRET_FILE": __file__},
                "GOPACS_CLIENT_SECRET and GOPACS_CLIENT_SECRET_FILE are both set: use one or the other.",
            ),
            (
                {**COMPLETE, "GOPACS_TOKEN_URL": "https://x"},
                "GOPACS_ENVIRONMENT is set together with GOPACS_TOKEN_URL: use one or the other.",
            ),
            (
                {**COMPLETE, "GOPACS_API_DOMAINS": "x"},
                "GOPACS_ENVIRONMENT is set together with GOPACS_API_DOMAINS: use one or the other.",
            ),
            (
                {**without("GOPACS_ENVIRONMENT"), "GOPACS_TOKEN_URL": "https://x"},
                "GOPACS_TOKEN_URL is set without GOPACS_API_DOMAINS.",
            ),
            (
                {**without("GOPACS_ENVIRONMENT"), "GOPACS_API_DOMAINS": "x"},
                "GOPACS_API_DOMAINS is set without GOPACS_TOKEN_URL.",
            ),
            (
                {**COMPLETE, "GOPACS_CA_BUNDLE": "/no/ca.pem"},
                "GOPACS_CA_BUNDLE names /no/ca.pem, which does not exist.",
            ),
        ],
    )
    def test_contradictions(self, environ: dict[str, str], fault: str) -> None:
        """Variables that exclude or need each other are told, and so is a CA bundle that is not there."""
        assert complaints(environ) == [fault]

    @pytest.mark.parametrize("domains", ["/qqq", ","])
    def test_malformed(self, domains: str) -> None:
        """What is no preset, no https URL and no host names is named; the values are not."""
        environ = {
            **COMPLETE,
            "GOPACS_ENVIRONMENT": "qqq",
            "GOPACS_TOKEN_URL": "http://qqq",
            "GOPACS_API_DOMAINS": domains,
            "GOPACS_CA_BUNDLE": __file__,
        }
        lines = complaints(environ)
        assert lines == [
            "GOPACS_ENVIRONMENT is set together with GOPACS_TOKEN_URL and GOPACS_API_DOMAINS: use one or the other.",
            "GOPACS_ENVIRONMENT is neither acceptance nor production.",
            "GOPACS_TOKEN_URL is not a plain https:// URL.",
            "GOPACS_API_DOMAINS is not a list of host names, separated by commas.",
        ]
        assert "qqq" not in str(lines)

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
        assert complaints(with_file(path)) == [f"GOPACS_CLIENT_SECRET_FILE names {path}, which {fault}"]

    @pytest.mark.parametrize(
        ("path", "fault"),
        [
            ("/no/secret", "cannot be read: No such file or directory."),
            ("folder/secret", "cannot be read: No such file or directory."),
            ("folder", "cannot be read: Is a directory."),
        ],
    )
    def test_path(self, path: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A path that begins with a slash, or with a folder that exists, is quoted as it stands in the variable."""
        monkeypatch.chdir(tmp_path)
        Path("folder").mkdir()
        assert complaints(with_file(path)) == [f"GOPACS_CLIENT_SECRET_FILE names {path}, which {fault}"]

    @pytest.mark.parametrize("value", ["s3cret", "s3c/ret"])
    def test_secret_instead_of_a_file(self, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What may be the secret itself, in the wrong variable, is not quoted; where it leads to is."""
        monkeypatch.chdir(tmp_path)
        assert complaints(with_file(value)) == [
            f"GOPACS_CLIENT_SECRET_FILE names a file in {tmp_path}, which cannot be read: No such file or directory."
        ]


class TestSecretFile:
    @pytest.mark.parametrize("content", [" s3cret ", " s3cret \r\n", "\ufeff s3cret \n"])
    def test_line_end(self, secret_file: Path, content: str) -> None:
        """A line end after the secret, and a byte order mark before it, are no part of it; blanks are."""
        secret_file.write_bytes(content.encode())
        assert SecretFile(str(secret_file))() == " s3cret "

    def test_rotation(self, sandbox: Sandbox, secret_file: Path) -> None:
        """The file is read again for each token; if it is gone by then, the request fails, and nothing is sent."""
        environ = environment_variables.variables(sandbox.client_id, "", sandbox.environment)
        del environ["GOPACS_CLIENT_SECRET"]
        with GopacsSession.from_env({**environ, "GOPACS_CLIENT_SECRET_FILE": str(secret_file)}) as session:
            for sandbox.client_secret in "old", "new":
                secret_file.write_text(f"{sandbox.client_secret}\n")
                session.fetch_token()
            secret_file.unlink()
            with pytest.raises(TokenRequestError, match="FileNotFoundError"):
                session.fetch_token()
        assert [exchange.status for exchange in sandbox.token_requests] == [200, 200]

    def test_pickle_and_repr(self, secret_file: Path) -> None:
        """A pickled session reads the file where it wakes up; no secret is in the pickle, and none in a repr."""
        environ = with_file(secret_file)
        pickled = pickle.dumps(GopacsSession.from_env(environ))
        assert SECRET.encode() not in pickled
        assert pickle.loads(pickled).client_id == "trader"
        found = environment_variables.read(environ)
        assert SECRET not in repr(found) + repr(found.arguments["client_secret"])
        assert "s3cret" not in repr(environment_variables.read(COMPLETE))
