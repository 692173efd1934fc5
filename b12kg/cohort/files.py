"""Files of rows through a guideline, part by part, so that a run that was killed goes on where it was.

Owns the output folder: what is in it, what makes a part complete, and when an old one may be gone on with.

    run.json            what the run is made from: digests of the input, of the guideline, the options
    outcomes.ndjson     what each code of each decision stands for
    codes/NNNNN.parquet, rejects/NNNNN.parquet
    done/NNNNN.json     how many rows of each code a part has; written last, so that a part with it is complete
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from b12kg.cohort import Cohorts, Frame, polars, sql
from b12kg.cohort.plan import ROW, SEPARATOR, Kind, Plan, schema
from b12kg.errors import InvalidRecord, UsageError

if TYPE_CHECKING:
    import polars as pl

Backend = Literal["polars", "duckdb", "spark"]
_NAMES = {"polars": "Polars", "duckdb": "DuckDB", "spark": "Spark"}
# Rows of one part: what a kill costs at most, and what is held at once of a text file.
ROWS = 2_000_000
# Of a table in memory, whatever its size in a file: rows, columns, and bytes of their texts.
MOST_ROWS, MOST_COLUMNS, MOST_TEXT = 200_000, 1_000, 16 * 2**20
_FORMAT = 1
_PART = ".part"  # of a file that is not whole yet
_PATTERN = "*?[]{}\\"  # what Spark takes for a pattern in a path
_SUFFIXES = {".parquet": "parquet", ".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
# For one record of the JSON format: its row, or every reason for which it is refused.
ReadRecord = Callable[[bytes], "tuple[str, Mapping[str, object]]"]


@dataclass
class Counts:
    """What a run came to: rows in, rows refused, and for each decision the rows of each code."""

    rows: int = 0
    refused: int = 0
    codes: dict[str, Counter[int]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, other: Counts) -> None:
        """Count the rows of another as well."""
        self.rows += other.rows
        self.refused += other.refused
        self.reasons.update(other.reasons)
        for decision, found in other.codes.items():
            self.codes.setdefault(decision, Counter()).update(found)

    def to_dict(self) -> dict[str, Any]:
        """The form that :meth:`of` reads."""
        return {
            "rows": self.rows,
            "refused": self.refused,
            "codes": {
                decision: {str(code): found[code] for code in sorted(found)} for decision, found in self.codes.items()
            },
            "reasons": dict(sorted(self.reasons.items())),
        }

    @staticmethod
    def of(form: Mapping[str, Any]) -> Counts:
        """The counts in a form.

        Raises:
            UsageError: it is another form.
        """
        try:
            codes = {name: Counter({int(c): n for c, n in found.items()}) for name, found in form["codes"].items()}
            return Counts(form["rows"], form["refused"], codes, Counter(form["reasons"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError("the mark of a part is not what such a run writes; give a new folder") from error


@dataclass(frozen=True, slots=True)
class Job:
    """What a run is to do.

    Args:
        key: the column that names a row; without one its number from 0, over all files in the order of their names.
        explain: whether the parts hold what the codes stand for as well.
        rows: of one part.
    """

    input: Path
    output: Path
    key: str | None = None
    backend: Backend = "polars"
    explain: bool = False
    rows: int = ROWS
    as_of: date | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a file; of a text file the batch of that number."""

    number: int
    file: Path
    format: str
    start: int
    rows: int
    before: int


def run(
    cohorts: Cohorts, job: Job, read_record: ReadRecord, report: Callable[[int, int | None], None] = lambda *_: None
) -> Counts:
    """Answer every row of the input, but for the parts that an earlier run of the same has done.

    Args:
        read_record: the identifier and the row of a record of the JSON format, for NDJSON.
        report: is told the rows that are done, and how many there are where that is known.

    Raises:
        UsageError: the input cannot be read, or the output folder holds something else.
    """
    files = _files(job.input)
    _refuse(cohorts, job, files)
    _claim(cohorts, job, files)
    total = Counts()
    if job.backend == "spark":
        return _spark(cohorts, job, files)
    with _reading(job.input):
        known, parts = _parts(files, job)
        for part, frame in parts:
            done = job.output / "done" / f"{part.number:05}.json"
            if done.exists():
                found = Counts.of(read_form(done))
            else:
                found = _part(cohorts, job, part, frame, read_record)
                write_whole(done, json.dumps(found.to_dict()))
            total.add(found)
            report(total.rows, known)
    return total


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what the libraries say of a file into an error that names it; their words can hold what is in its cells."""
    import duckdb
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, duckdb.Error) as error:
        name = type(error).__name__
        raise UsageError(
            f"{path}: cannot be read as what its name says ({name}); accepted: Parquet; CSV in UTF-8 with commas, "
            "a header, and no more cells in a line; a JSON record a line"
        ) from error
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror or error}") from error


def _refuse(cohorts: Cohorts, job: Job, files: list[tuple[Path, str]]) -> None:
    """Raise for what cannot be done, before anything is written."""
    import polars as pl

    (format_,) = {format_ for _, format_ in files}
    if job.backend != "polars" and format_ != "parquet":
        raise UsageError(f"{_NAMES[job.backend]} reads Parquet here; for CSV and NDJSON the backend is polars")
    if job.backend == "spark" and job.key is None:
        raise UsageError("the rows of a Spark DataFrame have no order to number them by; name a key")
    for path, _ in files:
        if job.backend == "spark" and (odd := "".join(sorted({*str(path)} & {*_PATTERN}))):
            raise UsageError(f"{path}: to Spark {odd} in a path is a pattern; name it otherwise")
        with _reading(path):
            if format_ == "parquet":
                _plan(cohorts, polars.kinds(pl.scan_parquet(path, glob=False)), job)
            elif format_ == "csv":
                columns = _texts(pl.scan_csv(path, infer_schema=False, glob=False))
                if len(columns) == 1 and {";", "\t"} & set(*columns):
                    raise UsageError(f"{path}: the cells of a line are to have commas between them, not ; nor tabs")
                _plan(cohorts, columns, job)
            else:
                path.open("rb").close()


def _texts(rows: pl.LazyFrame) -> dict[str, Kind]:
    """The columns of a file in which every cell is text."""
    return {name: Kind("text", "text") for name in polars.kinds(rows)}


def _files(path: Path) -> list[tuple[Path, str]]:
    """The files of the input with their formats, in the order of their names."""
    if not path.exists():
        raise UsageError(f"{path}: no such file or folder")
    # Names that begin so are what those who write tables in parts keep beside them.
    inside = sorted(p for p in path.iterdir() if not p.name.startswith(("_", "."))) if path.is_dir() else [path]
    odd = [p.name for p in inside if p.suffix.lower() not in _SUFFIXES or not p.is_file()]
    if odd or not inside:
        named = f" (found: {', '.join(odd[:3])})" if odd else ""
        raise UsageError(f"{path}: rows are in files of {', '.join(_SUFFIXES)}, or in a folder of such alone{named}")
    formats = sorted({_SUFFIXES[p.suffix.lower()] for p in inside})
    if len(formats) > 1:
        raise UsageError(f"{path}: files of several formats, {' and '.join(formats)}")
    return [(p, formats[0]) for p in inside]


def _claim(cohorts: Cohorts, job: Job, files: list[tuple[Path, str]]) -> None:
    """Make the output folder this run's, or see that it is."""
    guideline = cohorts.guideline
    made_from = {
        "format": _FORMAT,
        "guideline": guideline.id,
        "version": guideline.version,
        "digest": guideline.digest,
        "input": {path.name: digest_of(path) for path, _ in files},
        "options": {
            "key": job.key,
            "backend": job.backend,
            "explain": job.explain,
            "rows": job.rows,
            "asOf": job.as_of.isoformat() if job.as_of else None,
        },
    }
    claim = job.output / "run.json"
    with _reading(job.output):
        job.output.mkdir(parents=True, exist_ok=True)
        if claim.exists():
            _go_on(job.output, read_form(claim), made_from)
        elif {path.name for path in job.output.iterdir()} - {claim.with_suffix(_PART).name}:
            raise UsageError(f"{job.output}: not empty, and not the output of such a run; give a new folder")
        # First of all, so that a run that is killed at any time can go on.
        write_whole(claim, json.dumps(made_from, indent=2) + "\n")
        for name in ("codes", "rejects", "done"):
            (job.output / name).mkdir(exist_ok=True)
        write_whole(job.output / "outcomes.ndjson", "".join(json.dumps(row) + "\n" for row in cohorts.outcomes))


def _go_on(output: Path, before: Mapping[str, object], now: Mapping[str, object]) -> None:
    """See that an earlier run was the same; of another that had done nothing yet nothing is left."""
    odd = sorted(key for key in now if before.get(key) != now[key])
    if odd and any(any(output.glob(done)) for done in ("done/*.json", "*/_SUCCESS")):
        raise UsageError(f"{output}: made from another {' and '.join(odd)}; give a new folder")
    for half in [path for name in ("codes", "rejects") for path in output.glob(f"{name}/*.par*") if odd]:
        half.unlink()


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_form(path: Path) -> dict[str, Any]:
    """What an earlier run wrote of itself.

    Raises:
        UsageError: it is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{path}: not what such a run writes; give a new folder")
    return found


def write_whole(path: Path, content: str) -> None:
    """Write the file at once and whole, on the disk."""
    part = path.with_suffix(_PART)
    with part.open("w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


# ---- parts -------------------------------------------------------------------------------------


def _parts(files: list[tuple[Path, str]], job: Job) -> tuple[int | None, Iterator[tuple[Part, Any]]]:
    """How many rows there are, where a file says so, and the parts with what is to be read of each."""
    if files[0][1] == "parquet":
        import polars as pl

        sizes = [int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()) for path, _ in files]
        return sum(sizes), _of_parquet(files, sizes, job)
    return None, _of_csv(files, job) if files[0][1] == "csv" else _of_ndjson(files, job)


def _of_parquet(files: list[tuple[Path, str]], sizes: list[int], job: Job) -> Iterator[tuple[Part, Any]]:
    before = number = 0
    for (path, format_), size in zip(files, sizes, strict=True):
        for start in range(0, size, job.rows):
            yield Part(number, path, format_, start, min(job.rows, size - start), before), None
            number += 1
        before += size


def _of_csv(files: list[tuple[Path, str]], job: Job) -> Iterator[tuple[Part, Any]]:
    import polars as pl

    before = number = 0
    for path, format_ in files:
        # Every cell is text: what it is a value of is for the schema to say, not for its first rows.
        lazy = pl.scan_csv(path, infer_schema=False, glob=False)
        start = 0
        for batch in lazy.collect_batches(chunk_size=job.rows, maintain_order=True):
            yield Part(number, path, format_, start, batch.height, before), batch
            start += batch.height
            number += 1
        before += start


def _of_ndjson(files: list[tuple[Path, str]], job: Job) -> Iterator[tuple[Part, Any]]:
    before = number = 0
    for path, format_ in files:
        with path.open("rb") as file:
            start, lines = 0, []
            for line in file:
                if line.strip():
                    lines.append(line.strip())
                if len(lines) == job.rows:
                    yield Part(number, path, format_, start, len(lines), before), lines
                    number, start, lines = number + 1, start + len(lines), []
            if lines:
                yield Part(number, path, format_, start, len(lines), before), lines
                number, start = number + 1, start + len(lines)
        before += start


def _part(cohorts: Cohorts, job: Job, part: Part, frame: Any, read_record: ReadRecord) -> Counts:
    """Answer one part, and count what came out."""
    codes, rejects = (job.output / name / f"{part.number:05}.parquet" for name in ("codes", "rejects"))
    if part.format == "ndjson":
        _records(cohorts, job, part, frame, read_record, codes, rejects)
    elif job.backend == "duckdb":
        _by_duckdb(cohorts, job, part, codes, rejects)
    else:
        _by_polars(cohorts, job, part, frame, codes, rejects)
    found = _counted(cohorts, codes, rejects)
    if found.rows != part.rows:
        raise RuntimeError(f"part {part.number} has {part.rows} rows, and {found.rows} came out")
    return found


def _by_polars(cohorts: Cohorts, job: Job, part: Part, frame: pl.DataFrame | None, codes: Path, rejects: Path) -> None:
    import polars as pl

    if frame is None:
        lazy = pl.scan_parquet(part.file, glob=False)
        kinds = polars.kinds(lazy)
        if job.key is None:
            lazy = lazy.with_row_index(ROW, part.before)
        lazy = lazy.slice(part.start, part.rows)
    else:
        lazy = frame.lazy()
        kinds = _texts(lazy)
        if job.key is None:
            lazy = lazy.with_row_index(ROW, part.before + part.start)
    if job.key is None:
        lazy = lazy.with_columns(pl.col(ROW).cast(pl.Int64))
    plan = _plan(cohorts, kinds, job)
    answered = polars.answered(lazy, plan)
    if job.explain:
        answered = polars.looked_up(answered, cohorts.columns([*plan.codes], explain=True))
    # Both from one reading of the rows.
    sinks = [
        made.sink_parquet(path.with_suffix(_PART), lazy=True, mkdir=False)
        for made, path in ((answered, codes), (polars.refused(lazy, plan), rejects))
    ]
    pl.collect_all(sinks, engine="streaming")
    for path in (codes, rejects):
        path.with_suffix(_PART).replace(path)


def _plan(cohorts: Cohorts, kinds: Mapping[str, Kind], job: Job) -> Plan:
    """The plan for a file; where rows are numbered, the number is a column by now."""
    if job.key is not None:
        return cohorts.plan(kinds, job.key)
    if ROW in kinds:
        raise UsageError(f"no key is named, and the number of a row cannot be {ROW!r}: there is such a column")
    return cohorts.plan({**kinds, ROW: Kind("number", "row")}, ROW)


def _by_duckdb(cohorts: Cohorts, job: Job, part: Part, codes: Path, rejects: Path) -> None:
    import duckdb

    with duckdb.connect(config={"preserve_insertion_order": False, "memory_limit": "700MB"}) as connection:
        columns = connection.read_parquet(escape(str(part.file)), hive_partitioning=False)
        plan = _plan(cohorts, Frame(columns).kinds(), job)
        numbered = None if job.key is not None else (ROW, part.before)
        source = sql.part_of_parquet(str(part.file), part.start, part.rows, numbered)
        answered = sql.answered(plan, source, sql.DUCKDB)
        if job.explain:
            answered = sql.looked_up(cohorts.columns([*plan.codes], explain=True), f"({answered})", sql.DUCKDB)
        for query, path in ((answered, codes), (sql.refused(plan, source, sql.DUCKDB), rejects)):
            connection.sql(query).write_parquet(str(path.with_suffix(_PART)))
            path.with_suffix(_PART).replace(path)


def _records(
    cohorts: Cohorts, job: Job, part: Part, lines: list[bytes], read: ReadRecord, codes: Path, rejects: Path
) -> None:
    """Records of the JSON format: each is read as a single one is, and its facts are a row."""
    import polars as pl

    types = {"boolean": pl.Boolean, "double": pl.Float64, "string": pl.String}
    columns = {name: types[type_] for name, type_ in schema(cohorts.guideline).items()}
    rows: list[Mapping[str, object]] = []
    refused: list[dict[str, object]] = []
    for number, line in enumerate(lines, part.before + part.start):
        try:
            name, row = read(line)
            rows.append({ROW: number, "id": name, **row})
        except InvalidRecord as error:
            # Each line is read by itself, and is the first to who reads it.
            reasons = [str(problem).removeprefix("line 1, ") for problem in error.problems]
            refused.append({ROW: number, "reason": SEPARATOR.join(reasons)})
    lazy = pl.LazyFrame(rows, schema={ROW: pl.Int64, "id": pl.String, **columns})
    plan = _plan(cohorts, {name: kind for name, kind in polars.kinds(lazy).items() if name in columns}, job)
    answered = lazy.select(ROW, "id").join(polars.answered(lazy, plan), on=ROW, maintain_order="left")
    if job.explain:
        answered = polars.looked_up(answered, cohorts.columns([*plan.codes], explain=True))
    odd = polars.refused(lazy, plan).collect()
    made = pl.concat([pl.DataFrame(refused, schema=odd.schema), odd])
    for frame, path in ((answered.collect(), codes), (made, rejects)):
        frame.write_parquet(path.with_suffix(_PART))
        path.with_suffix(_PART).replace(path)


def in_memory(
    cohorts: Cohorts, data: bytes, format: Literal["parquet", "csv"], key: str | None
) -> tuple[pl.DataFrame, pl.DataFrame, Counts]:
    """The codes of every row of a table that is at hand as bytes, the rows that are refused, and the counts of both.

    Args:
        key: the column that names a row; without one, a row's number from 0 on.

    Raises:
        UsageError: it cannot be read as what it is said to be, a column has no meaning, or what it holds is more than
            :data:`MOST_ROWS` or :data:`MOST_TEXT`, be it as small as it is in the file.
    """
    import polars as pl

    name = Path(f"the table, as {format}")
    job = Job(name, name, key=key)
    try:
        with _reading(name):
            width = len(pl.read_parquet_schema(io.BytesIO(data))) if format == "parquet" else _width_of_csv(data)
            if width > MOST_COLUMNS:
                raise UsageError(f"the table has {width:,} columns; here it may have {MOST_COLUMNS:,}")
            lazy = (
                pl.scan_parquet(io.BytesIO(data))
                if format == "parquet"
                else pl.read_csv(data, infer_schema=False).lazy()
            )
            rows = int(lazy.select(pl.len()).collect().item())
            if rows > MOST_ROWS:
                raise UsageError(f"the table has {rows:,} rows; here it may have {MOST_ROWS:,}")
            columns = polars.kinds(lazy)
            texts = [name for name, type_ in lazy.collect_schema().items() if type_ == pl.String]
            lengths = (pl.col(name).str.len_bytes().cast(pl.Int64).sum() for name in texts)
            length = sum(lazy.select(lengths).collect().row(0)) if texts else 0
            if length > MOST_TEXT:
                raise UsageError(f"its texts have {length:,} bytes; here they may have {MOST_TEXT:,}")
            kinds = columns if format == "parquet" else _texts(lazy)
            if key is None and ROW not in kinds:
                lazy = lazy.with_row_index(ROW).with_columns(pl.col(ROW).cast(pl.Int64))
            plan = _plan(cohorts, kinds, job)
            codes, rejects = pl.collect_all([polars.answered(lazy, plan), polars.refused(lazy, plan)])
    except (OSError, zlib.error) as error:
        raise UsageError(f"{name}: damaged, or of another kind") from error
    found = _counts(cohorts, codes.lazy(), rejects.lazy())
    if found.rows != rows:
        raise RuntimeError(f"the table has {rows} rows, and {found.rows} came out")
    return codes, rejects, found


def _width_of_csv(data: bytes) -> int:
    r"""How many columns a CSV has by its header, which may be as long as the whole of it.

    >>> _width_of_csv(b'a,"b,c\n",d\n1,2,3\n'), _width_of_csv(b"")
    (3, 0)
    """
    lines = io.TextIOWrapper(io.BytesIO(data), encoding="utf-8", errors="replace", newline="")
    try:
        return len(next(csv.reader(lines), []))
    except csv.Error as error:
        raise UsageError(f"the header of the table cannot be read: {error}") from error


def _counted(cohorts: Cohorts, codes: Path, rejects: Path) -> Counts:
    """How many rows of each code and of each reason two files hold."""
    import polars as pl

    return _counts(cohorts, pl.scan_parquet(codes, glob=False), pl.scan_parquet(rejects, glob=False))


def _counts(cohorts: Cohorts, answered: pl.LazyFrame, rejected: pl.LazyFrame) -> Counts:
    """How many rows of each code and of each reason two frames hold."""
    import polars as pl

    decisions = [*cohorts.codes.outcomes]
    # One pass: a code is below 65,536, and there are some hundred.
    counted = answered.select(pl.len(), *(pl.col(name).value_counts().implode() for name in decisions))
    made = counted.collect(engine="streaming").row(0, named=True)
    refused = rejected.group_by("reason").len().collect()
    reasons: Counter[str] = Counter()
    for reason, number in refused.iter_rows():
        for part in str(reason).split(SEPARATOR):
            reasons[part] += number
    missed = sum(number for _, number in refused.iter_rows())
    found = {name: Counter({row[name]: row["count"] for row in made[name]}) for name in decisions}
    return Counts(made["len"] + missed, missed, found, reasons)


# ---- Spark -------------------------------------------------------------------------------------


def _spark(cohorts: Cohorts, job: Job, files: list[tuple[Path, str]]) -> Counts:
    """The same by Spark, which has parts and restarts of its own: either table is complete, or made again."""
    from pyspark.sql import SparkSession

    session = SparkSession.builder.appName("b12kg cohort").getOrCreate()
    frame = Frame(session.read.parquet(*(str(path) for path, _ in files)))
    plan = cohorts.plan(frame.kinds(), job.key)
    answered = frame.answered(plan)
    if job.explain:
        answered = Frame(answered).with_columns(cohorts.columns([*plan.codes], explain=True))
    for name, made in (("codes", answered), ("rejects", frame.refused(plan))):
        folder = job.output / name
        if not (folder / "_SUCCESS").exists():
            made.write.mode("overwrite").parquet(str(folder))
    codes, rejects = (session.read.parquet(str(job.output / name)) for name in ("codes", "rejects"))
    counts = Counts(refused=rejects.count())
    for name in cohorts.codes.outcomes:
        counts.codes[name] = Counter({row[name]: row["count"] for row in codes.groupBy(name).count().collect()})
    counts.rows = counts.refused + sum(counts.codes[next(iter(counts.codes))].values())
    for row in rejects.groupBy("reason").count().collect():
        for part in row["reason"].split(SEPARATOR):
            counts.reasons[part] += row["count"]
    if counts.rows != session.read.parquet(*(str(path) for path, _ in files)).count():
        raise RuntimeError("not every row came out")
    return counts


BACKENDS = get_args(Backend)
