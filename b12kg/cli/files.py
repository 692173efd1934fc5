"""How the command line reads records and speaks: standard input, standard error, the terminal.

Owns nothing that is answered.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from b12kg.errors import Problem, UsageError
from b12kg.records import SUFFIXES

ANSWERED, FINDINGS, USAGE, INVALID_RECORD, INVALID_GUIDELINE = range(5)
INPUTS = list(dict.fromkeys(SUFFIXES.values()))


def read(name: str, format_: str | None) -> tuple[bytes, str]:
    """The bytes of a record and the format that they are in.

    Raises:
        UsageError: the file cannot be read, or nothing says what format it is in.
    """
    if name == "-":
        return sys.stdin.buffer.read(), format_ or "json"
    path = Path(name)
    known = format_ or SUFFIXES.get(path.suffix.lower())
    if known is None:
        raise UsageError(
            f"{name}: no format goes by {path.suffix or 'no suffix'!r}; name one with --input {{{','.join(INPUTS)}}}"
        )
    try:
        return path.read_bytes(), known
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from error


def once(files: Sequence[str]) -> None:
    """Refuse to read standard input twice: the second time it is empty.

    Raises:
        UsageError: it is named twice.
    """
    if files.count("-") > 1:
        raise UsageError("- (standard input) can be named once only")


def print_problems(problems: Sequence[Problem], name: str | None = None) -> None:
    """Every problem on standard error, under the name of the file that has them."""
    if name is not None:
        print(f"b12kg: {'standard input' if name == '-' else name} is not answered:", file=sys.stderr)
    for problem in problems:
        print(f"  {problem}" if name is not None else f"b12kg: {problem}", file=sys.stderr)


def terminal() -> dict[str, Any]:
    """Whether to use colours, and how wide the terminal is."""
    import shutil

    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    return {"colour": colour, "width": min(shutil.get_terminal_size((100, 24)).columns, 120)}


def wrap(words: str, width: int, indent: str = "", then: str | None = None) -> list[str]:
    """The words as lines of a width; ``then`` is what lines after the first begin with (default: as the first)."""
    import textwrap

    return textwrap.wrap(
        words,
        width,
        initial_indent=indent,
        subsequent_indent=indent if then is None else then,
        break_long_words=False,
        break_on_hyphens=False,
    )


@contextmanager
def progress(words: str) -> Iterator[None]:
    """A line on a terminal while something takes its time, gone when it is done."""
    if not sys.stderr.isatty():
        yield
        return
    sys.stderr.write(f"b12kg: {words} ...")
    sys.stderr.flush()
    try:
        yield
    finally:
        sys.stderr.write("\r\033[K")
        sys.stderr.flush()
