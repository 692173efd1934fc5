"""The command line of cohorts: ``b12kg cohort`` and ``b12kg schema --cohort``.

Owns arguments and what goes to the terminal. What is worked out is for b12kg/cohort/.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from b12kg.cli.files import ANSWERED, FINDINGS
from b12kg.errors import UsageError
from b12kg.recommend import ExecutableGuideline

EXTRAS = {"polars": "cohort", "duckdb": "cohort", "pyarrow": "cohort", "pyspark": "spark"}


def cohort(arguments: argparse.Namespace) -> int:
    """Answer every row of the files; the exit code is 1 where rows were refused."""
    import b12kg
    from b12kg.cohort.files import Job, run
    from b12kg.cohort.summary import as_page, as_text, summary

    guideline = b12kg.load(arguments.guideline)
    cohorts = guideline.cohorts()
    output = Path(arguments.output)
    job = Job(
        input=Path(arguments.input),
        output=output,
        key=arguments.key,
        backend=arguments.backend,
        explain=arguments.explain,
        rows=arguments.rows,
        as_of=arguments.as_of,
    )
    try:
        with _Progress() as progress:
            counts = run(cohorts, job, _reader(guideline, arguments), progress.report)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).partition(".")[0])
        if extra is None:
            raise
        raise UsageError(f"this needs {error.name}: pip install 'b12kg[{extra}]'") from error
    if arguments.summary:
        found = summary(cohorts.outcomes, counts)
        (output / "summary.html").write_text(as_page(guideline.content, found), encoding="utf-8")
        sys.stdout.write(as_text(guideline.content, found))
    else:
        print(f"{counts.rows:,} rows: {counts.rows - counts.refused:,} answered, {counts.refused:,} refused")
    return FINDINGS if counts.refused else ANSWERED


def _reader(
    guideline: ExecutableGuideline, arguments: argparse.Namespace
) -> Callable[[bytes], tuple[str, Mapping[str, object]]]:
    def read(line: bytes) -> tuple[str, Mapping[str, object]]:
        return guideline.row(line, as_of=arguments.as_of)

    return read


def schema(arguments: argparse.Namespace) -> int:
    """Print the columns that a frame may have, as JSON: name, type, and the unit of numbers."""
    import b12kg

    guideline = b12kg.load(arguments.guideline)
    units = guideline.cohort_units()
    columns = [
        {"name": name, "type": type_, "label": guideline.content.label_of(name)}
        | ({"unit": units[name]} if name in units else {})
        for name, type_ in guideline.cohort_schema().items()
    ]
    print(json.dumps({"guideline": guideline.content.id, "columns": columns}, indent=2, ensure_ascii=False))
    return ANSWERED


class _Progress:
    """A line on a terminal: rows, rate and the time that is left; nothing where there is no terminal."""

    def __enter__(self) -> _Progress:
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        if sys.stderr.isatty():
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def report(self, rows: int, of: int | None) -> None:
        """Show how far it is."""
        if not sys.stderr.isatty():
            return
        words = progress_words(rows, of, time.monotonic() - self.began)
        sys.stderr.write(f"\r\033[K{words}")
        sys.stderr.flush()


def progress_words(rows: int, of: int | None, seconds: float) -> str:
    """How far it is, in words.

    >>> progress_words(2_000_000, 10_000_000, 0.5)
    '2,000,000 of 10,000,000 rows (20 %), 4,000,000 a second, 2 s left'
    >>> progress_words(2_000_000, None, 0.5)
    '2,000,000 rows, 4,000,000 a second'
    """
    rate = rows / seconds if seconds > 0 else 0.0
    if of is None:
        return f"{rows:,} rows, {rate:,.0f} a second"
    left = f", {(of - rows) / rate:,.0f} s left" if rate else ""
    return f"{rows:,} of {of:,} rows ({rows / of if of else 1:.0%}), {rate:,.0f} a second{left}".replace("%)", " %)")
