"""Build sdist and wheel, the same bytes for the same commit: python build_dist.py DIRECTORY, from the top of the tree.

All in them has the time SOURCE_DATE_EPOCH, else that of the commit, else the first that a zip file can have. setuptools
heeds it in wheels only: in an sdist it keeps the time, owner and mode that each file has here, so that is packed anew.
"""

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

NOT_SOURCES = shutil.ignore_patterns(
    ".git", ".tox", ".venv", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "_build", "build", "dist"
)
FIRST_OF_ZIP = 315532800


def epoch() -> int:
    """The time of everything, in seconds."""
    commit = subprocess.run(["git", "log", "-1", "--format=%ct"], capture_output=True, text=True, check=False)
    return int(os.environ.get("SOURCE_DATE_EPOCH") or commit.stdout or FIRST_OF_ZIP)


def build(kind: str, tree: Path, directory: Path) -> None:
    """Let setuptools build a sdist or a wheel."""
    command = [sys.executable, "-m", "build", "-q", "--no-isolation", f"--{kind}", f"--outdir={directory}", str(tree)]
    subprocess.run(command, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch())}, check=True)


def unpack(sdist: Path, directory: Path) -> Path:
    """Return the tree in it, where modes say no more than which file is a program."""
    with tarfile.open(sdist) as archive:
        archive.extractall(directory, filter="data")
    tree = directory / sdist.name.removesuffix(".tar.gz")
    for path in tree.rglob("*"):
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    return tree


def pack(tree: Path, sdist: Path) -> None:
    """Write the tree as anybody would have it."""

    def anybodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = epoch()
        return member

    with (
        sdist.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=epoch()) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for path in sorted(tree.rglob("*")):
            archive.add(path, path.relative_to(tree.parent), recursive=False, filter=anybodys)


def main(directory: str) -> None:
    """Build from a copy, which has nothing that was built in the tree before, or is just now."""
    os.umask(0o022)
    out = Path(directory)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        shutil.copytree(".", work / "copy", ignore=NOT_SOURCES)
        build("sdist", work / "copy", work)
        [built] = work.glob("*.tar.gz")
        tree = unpack(built, work)
        pack(tree, out / built.name)
        build("wheel", tree, out)


if __name__ == "__main__":
    main(sys.argv[1])
