"""How long a FHIR bulk export takes to decisions, beside what DuckDB takes to read it at all.

Run by ``make bench-cohort``; prints its table and writes it to ``BULK.md``. The bare read is DuckDB's own of the same
files in the same run, with explicit columns: those elements that state something for the guideline, each counted and
none looked at. Both are run in turn; the best of each counts.

Usage: python benchmarks/bulk.py FOLDER [RUNS], the folder as benchmarks/bulk_export.py writes it
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import duckdb

import b12kg
from b12kg.recommend import ExecutableGuideline
from b12kg.records.bulk import Export, read_bulk

RESULTS = Path(__file__).parent / "BULK.md"
TODAY = date(2026, 1, 15)
AT_MOST = 2.0  # times the bare read
_CODE = "STRUCT(coding STRUCT(system VARCHAR, code VARCHAR)[])"
_PERIOD = 'STRUCT("start" VARCHAR, "end" VARCHAR)'
_COLUMNS = {
    "resourceType": "VARCHAR",
    "id": "VARCHAR",
    "birthDate": "VARCHAR",
    "subject": "STRUCT(reference VARCHAR)",
    "patient": "STRUCT(reference VARCHAR)",
    "status": "VARCHAR",
    "intent": "VARCHAR",
    "clinicalStatus": _CODE,
    "verificationStatus": _CODE,
    "code": _CODE,
    "medicationCodeableConcept": _CODE,
    "onsetDateTime": "VARCHAR",
    "abatementDateTime": "VARCHAR",
    "recordedDate": "VARCHAR",
    "performedDateTime": "VARCHAR",
    "performedPeriod": _PERIOD,
    "effectiveDateTime": "VARCHAR",
    "authoredOn": "VARCHAR",
    "valueQuantity": "STRUCT(value DECIMAL(18,6), comparator VARCHAR, unit VARCHAR, system VARCHAR, code VARCHAR)",
}


def bare(files: list[str]) -> None:
    """DuckDB's read with explicit columns, and nothing else."""
    columns = ", ".join(f"{name}: '{type_}'" for name, type_ in _COLUMNS.items())
    reading = f"read_json($files, format = 'newline_delimited', columns = {{{columns}}})"
    duckdb.connect().execute(f"SELECT count(COLUMNS(*)) FROM {reading}", {"files": files}).fetchall()


def decide(executable: ExecutableGuideline, export: Export) -> int:
    """One code a patient and decision, as `b12kg cohort` finds them; returns how many patients have one."""
    codes = executable.recommend_table(export.features, key="patient")
    decisions = " + ".join(f'"{name}"' for name in executable.content.decisions)
    ((count, _),) = codes.aggregate(f"count(*), sum({decisions})").fetchall()
    return int(count)


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main(folder: Path, runs: int) -> int:
    """Measure, and write the table; 1 if it takes longer than it may."""
    files = sorted(map(str, folder.glob("*.ndjson")))
    size = sum(Path(file).stat().st_size for file in files)
    executable = b12kg.load()
    best: dict[str, float] = {}
    for _ in range(runs):
        connection = duckdb.connect()
        taken = {"the bare read": seconds(partial(bare, files))}
        start = time.perf_counter()
        export = read_bulk(folder, executable.content, TODAY, connection)
        taken["lines to features"] = time.perf_counter() - start
        answered = decide(executable, export)
        taken["lines to decisions"] = time.perf_counter() - start
        if answered + export.counts["patientsRejected"] != export.counts["patients"]:
            raise SystemExit("not every patient has a code or a reason")
        best = {name: min(time_, best.get(name, time_)) for name, time_ in taken.items()}
    ratio = best["lines to decisions"] / best["the bare read"]
    lines = [
        "# A FHIR bulk export to decisions\n\nBy `make bench-cohort`; the best of "
        f"{runs} runs in turn, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end, "
        f"Python {platform.python_version()}, DuckDB {duckdb.__version__}. The export is made by "
        "`benchmarks/bulk_export.py`, which says how.\n",
        f"| {size / 1e9:.2f} GB, {export.counts['patients']:,} patients, {export.counts['lines']:,} lines | seconds |",
        "| --- | --- |",
        *(f"| {name} | {time_:.2f} |" for name, time_ in best.items()),
        f"\n{ratio:.2f} times the bare read ({'met' if ratio <= AT_MOST else 'MISSED'}: at most {AT_MOST}).\n",
        ", ".join(f"{name} {count:,}" for name, count in export.counts.items()),
    ]
    print("\n".join(lines))
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return int(ratio > AT_MOST)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 2))
