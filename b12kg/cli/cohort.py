"""The command line of cohorts: ``b12kg cohort`` and ``b12kg schema --cohort``.

Owns arguments and what goes to the terminal. What is worked out is for b12kg/cohort/.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.cli.files import ANSWERED, FINDINGS, progress
from b12kg.codes import load_codes
from b12kg.errors import UsageError
from b12kg.recommend import ExecutableGuideline

if TYPE_CHECKING:
    from b12kg.cohort.files import Counts, Job

EXTRAS = {"polars": "cohort", "duckdb": "cohort", "pyarrow": "cohort", "pyspark": "spark"}


def cohort(arguments: argparse.Namespace) -> int:
    """Answer every row of the files; the exit code is 1 where rows were refused."""
    import b12kg
    from b12kg.cohort.files import Counts, Job, run
    from b12kg.cohort.summary import as_page, as_text, summary

    if arguments.rows < 1:
        raise UsageError(f"--rows {arguments.rows}: a part has at least one row")
    guideline = b12kg.load(arguments.guideline)
    cohorts = guideline.cohorts()
    job = Job(
        input=Path(arguments.input),
        output=Path(arguments.output),
        key=arguments.key,
        backend=arguments.backend,
        explain=arguments.explain,
        rows=arguments.rows,
        as_of=arguments.as_of,
    )
    refused = Counts()
    try:
        if is_export(job.input):
            job, refused = _from_fhir(guideline, job)
        with _Progress() as shown:
            counts = run(cohorts, job, _reader(guideline, arguments), shown.report)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get(str(error.name).partition(".")[0])
        if extra is None:
            raise
        raise UsageError(f"this needs {error.name}: pip install 'b12kg[{extra}]'") from error
    except (OSError, EOFError, zlib.error) as error:
        place = getattr(error, "filename", None) or arguments.input
        words = getattr(error, "strerror", None) or "a compressed file is damaged, or is none"
        raise UsageError(f"{place}: {words}") from error
    counts.add(refused)
    if arguments.summary:
        found = summary(cohorts.outcomes, counts)
        (job.output / "summary.html").write_text(as_page(guideline.content, found), encoding="utf-8")
        sys.stdout.write(as_text(guideline.content, found))
    else:
        print(f"{counts.rows:,} rows: {counts.rows - counts.refused:,} answered, {counts.refused:,} refused")
    return FINDINGS if counts.refused else ANSWERED


def is_export(path: Path) -> bool:
    """Whether a folder is a FHIR bulk export: the first line of one of its files is a resource."""
    for name in sorted(path.glob("*.ndjson*")) if path.is_dir() else ():
        with gzip.open(name) if name.suffix == ".gz" else name.open("rb") as file:
            while (line := file.readline(1_000_000)) and not line.strip():
                pass  # to the first line that is not empty
            if b'"resourceType"' in line:
                return True
    return False


def _from_fhir(guideline: ExecutableGuideline, job: Job) -> tuple[Job, Counts]:
    """The facts of an export in files, the job of answering these, and the patients who cannot be read.

    Beside ``answers`` the output has ``facts``: a row of features a patient, what lies outside the source, and
    who was refused with place and reason. ``counts.json`` is written last, so that what has it is complete.
    """
    from b12kg.cohort.files import Counts, digest_of, read_form, write_whole
    from b12kg.records.bulk import read_bulk

    if job.key is not None:
        raise UsageError("the key of the rows of a FHIR export is the patient; leave out --key")
    as_of = job.as_of or date.today()
    folder = job.output / "facts"
    made_from = {
        "guideline": guideline.content.digest,
        "mapping": load_codes().digest,
        "asOf": as_of.isoformat(),
        "input": {path.name: digest_of(path) for path in sorted(job.input.glob("*.ndjson*"))},
    }
    claim, done = job.output / "export.json", folder / "counts.json"
    job.output.mkdir(parents=True, exist_ok=True)
    if claim.exists():
        if read_form(claim) != made_from:
            raise UsageError(f"{job.output}: made from another export, guideline or date; give a new folder")
    elif any(job.output.iterdir()):
        raise UsageError(f"{job.output}: not empty, and not the output of such a run; give a new folder")
    write_whole(claim, json.dumps(made_from, indent=2) + "\n")
    form = read_form(done) if done.exists() else None
    if form is None:
        folder.mkdir(exist_ok=True)
        with progress("reading the export"):
            export = read_bulk(job.input, guideline.content, as_of)
            for name in ("features", "outside", "rejects"):
                getattr(export, name).write_parquet(str(folder / f"{name}.parquet"))
        reasons = export.rejects.aggregate("message, count(*)").fetchall()
        form = {"counts": {**export.counts}, "reasons": dict(reasons)}
        write_whole(done, json.dumps(form, indent=2) + "\n")
    print(", ".join(f"{count:,} {_words(name)}" for name, count in form["counts"].items()))
    rejected = form["counts"]["patientsRejected"]
    answers = replace(job, input=folder / "features.parquet", output=job.output / "answers", key="patient")
    return answers, Counts(rejected, rejected, {}, Counter(form["reasons"]))


def _words(name: str) -> str:
    """The name of a count as words.

    >>> _words("patientsReadSingly")
    'patients read singly'
    """
    return re.sub("[A-Z]", lambda letter: f" {letter[0].lower()}", name)


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
