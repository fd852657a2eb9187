"""Programs that change their whole process, as monkey patching does, and so run in one of their own."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent


def run(program: str, *arguments: str) -> str:
    """What a Python program printed. Its GopacsSession.from_env() is that of the fixture gopacs_sandbox."""
    command = [sys.executable, "-c", dedent(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
