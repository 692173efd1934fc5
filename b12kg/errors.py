"""What can go wrong, as exceptions that name the place, what was found and what is accepted.

Owns the exception types and the problem that they carry. Decides nothing: who raises, says why.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


def printable(text: str) -> str:
    r"""The text with control, format and half characters written as escapes.

    What a record says is shown on terminals, where such characters could erase or reorder what
    stands around them.

    >>> print(printable("letter" + chr(27) + "[2J"))
    letter\x1b[2J
    """
    return "".join(
        character if unicodedata.category(character) not in ("Cc", "Cf", "Cs") else ascii(character)[1:-1]
        for character in text
    )


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or odd, at one place.

    Args:
        path: where, in the notation of the input: ``measurements[0].unit``, or a file and line.
        message: what is wrong, as a sentence without its final stop.
        found: what stands there, shortened.
        accepted: what would be accepted there.
        severity: ``error`` (never answered) or ``warning`` (answered, and said).

    >>> print(Problem("jurisdiction", "no country code", found="UK", accepted="GB"))
    jurisdiction: no country code (found: UK; accepted: GB)
    """

    path: str
    message: str
    found: str = ""
    accepted: str = ""
    severity: Severity = "error"

    def __str__(self) -> str:
        details = [f"{word}: {text}" for word, text in (("found", self.found), ("accepted", self.accepted)) if text]
        return printable(f"{self.path}: {self.message}" + (f" ({'; '.join(details)})" if details else ""))

    def to_dict(self) -> dict[str, str]:
        """The problem with all five of its parts, as strings."""
        return {
            "path": self.path,
            "message": self.message,
            "found": self.found,
            "accepted": self.accepted,
            "severity": self.severity,
        }


class B12kgError(Exception):
    """The base of every error that this package raises on purpose."""


class _ProblemsError(B12kgError):
    """An error that carries every problem found, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("an error without a problem says nothing")
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class InvalidRecord(_ProblemsError):
    """A record that is not answered; ``problems`` holds every reason.

    >>> raise InvalidRecord([Problem("asOf", "missing", accepted="a date, YYYY-MM-DD")])
    Traceback (most recent call last):
    b12kg.errors.InvalidRecord: asOf: missing (accepted: a date, YYYY-MM-DD)
    """


class InvalidGuideline(_ProblemsError):
    """A guideline that cannot be worked with; ``problems`` holds every reason."""


class UnsupportedConstruct(InvalidGuideline):
    """An OWL construct in a phenotype that has no meaning here: it is refused, never skipped."""


class UsageError(B12kgError):
    """A call that asks for something that is not there, such as a query of an unknown name."""


class ReasonerError(B12kgError):
    """The reasoner did not answer, so there is no answer."""
