"""What ``check`` found in one place, for people and for programs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .exit_code import ExitCode
from .terminal import Style, Terminal

MARKS = {True: ("✓", "+", Style.GREEN), False: ("✗", "x", Style.RED), None: ("·", "-", Style.DIM)}


@dataclass(frozen=True)
class Step:
    """What one look found.

    Attributes:
        name: one word.
        passed: None if there was nothing to look at.
        text: what was found; it holds no secret and no token.
        advice: what to do about it.
        code: what the command should exit with on account of this step.
        details: the same for programs.
    """

    name: str
    passed: bool | None
    text: str
    advice: str = ""
    code: ExitCode = ExitCode.SUCCESS
    details: Mapping[str, Any] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "step": self.name,
            "passed": self.passed,
            "text": self.text,
            "advice": self.advice,
            "details": self.details,
        }

    def show(self) -> None:
        """Print it."""
        terminal = Terminal(sys.stdout)
        symbol, substitute, style = MARKS[self.passed]
        terminal.entry(f"{terminal.symbol(symbol, substitute)} {self.name:<13}  ", self.text, [style])
        if self.advice:
            terminal.entry(f"{'':13}{terminal.symbol('→', '>')} ", self.advice, [Style.YELLOW])
