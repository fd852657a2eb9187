"""Where the command ``gopacs-session`` begins: outside of the package, so that Ctrl-C is quiet from the start.

The package takes some tenths of a second to be imported; an interrupt meanwhile would show a traceback.
"""

import signal


def main() -> int:
    """As :func:`gopacs_session.cli.main`; an interrupt before it begins ends the process without a word."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # A shell may have had it ignored.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from gopacs_session.cli import main

    signal.signal(signal.SIGINT, handler)
    return main()
