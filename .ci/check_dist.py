"""Check the built distributions: python check_dist.py DIRECTORY, from the top of the tree.

The wheel must hold the package and nothing else, the sdist whatever is needed to test and document it. Another build
must give the same bytes. The links of the long description must lead somewhere from the index, too.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from email import message_from_bytes
from html.parser import HTMLParser
from pathlib import Path

from build_dist import NOT_SOURCES, epoch
from readme_renderer import markdown


def tree(*tops: str) -> set[str]:
    """The files of the checkout below these folders."""
    return {
        path.as_posix()
        for top in tops
        for path in Path(top).rglob("*")
        if path.is_file() and not {"__pycache__", "_build", ".ruff_cache"}.intersection(path.parts)
    }


def in_wheel(path: Path) -> set[str]:
    """What the wheel installs, without its own metadata."""
    names = zipfile.ZipFile(path).namelist()
    return {name for name in names if ".dist-info/" not in name}


def in_sdist(path: Path) -> set[str]:
    """The files of the sdist, without the folder that they all lie in."""
    with tarfile.open(path) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def contents(wheel: Path, sdist: Path) -> Iterator[str]:
    """What is too much in them, or too little."""
    package, beside = tree("gopacs_session"), tree("tests", "docs", "benchmarks", ".ci", ".github")
    yield from (f"wheel lacks {name}" for name in package - in_wheel(wheel))
    yield from (f"wheel should not hold {name}" for name in in_wheel(wheel) - package)
    yield from (f"sdist lacks {name}" for name in (package | beside) - in_sdist(sdist))
    yield from (f"the tree has no {top}/" for top in ("tests", "docs") if not tree(top))
    if "gopacs_session/py.typed" not in package:
        yield "the package has no py.typed"


class Links(HTMLParser):
    """Collects where a page leads, pictures included."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Part of HTMLParser."""
        self.found += [value or "" for name, value in attributes if name in ("href", "src")]


def links(wheel: Path) -> Iterator[str]:
    """What leads nowhere on the index, which has no files beside the long description."""
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        description = str(message_from_bytes(archive.read(metadata)).get_payload())
    found = Links(markdown.render(description) or "").found
    yield from (f"the long description links to {link}" for link in found if not link.startswith(("https://", "#")))
    if not found:
        yield "the long description has no link at all"


def differences(*distributions: Path) -> Iterator[str]:
    """Which of them become other bytes when somebody else builds them: elsewhere, later, with other rights."""
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary, "else", "where")
        shutil.copytree(".", copy, ignore=NOT_SOURCES)
        for path in copy.rglob("*"):
            path.chmod(0o700 if path.is_dir() or path.stat().st_mode & 0o100 else 0o600)
            os.utime(path, (1e9, 1e9))
        environ = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch()), "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "1"}
        command = [sys.executable, ".ci/build_dist.py", "dist"]
        subprocess.run(command, cwd=copy, env=environ, umask=0o077, check=True)
        for path in distributions:
            if path.read_bytes() != (copy / "dist" / path.name).read_bytes():
                yield f"{path.name} is not the same when it is built again"


def complaints(dist: Path) -> list[str]:
    """One line for each thing that is wrong."""
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    return sorted([*contents(wheel, sdist), *links(wheel), *differences(wheel, sdist)])


if __name__ == "__main__":
    sys.exit("\n".join(complaints(Path(sys.argv[1]))) or None)
