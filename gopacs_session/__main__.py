"""``python -m gopacs_session``: the command line."""

from .cli import run

run()
