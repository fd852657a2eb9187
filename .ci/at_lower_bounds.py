"""Check that every requirement of the installed gopacs_session, extras included, is here at its very lower bound."""

import sys
from importlib.metadata import requires, version

wrong = []
for requirement in requires("gopacs_session") or ():
    name, _, bound = requirement.partition(";")[0].replace(" ", "").partition(">=")
    print(f"{name} {version(name)}")
    if version(name) != bound:
        wrong.append(f"{name} is not at its lower bound, {bound!r}")
sys.exit("\n".join(wrong) or None)
