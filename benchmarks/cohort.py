"""How long millions of rows take, beside expressions of the same rules written by hand, in one run.

Run by ``make bench-cohort``; prints its tables and writes them to ``COHORT.md``. What is compared has to give
the same rows, or the run fails. Arguments: the sizes in millions of rows (default 1 2 5 10 20 30 50).
"""

from __future__ import annotations

import itertools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import duckdb
import narwhals as nw
import polars as pl

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import others  # noqa: E402
import patients  # noqa: E402

import b12kg  # noqa: E402
from b12kg.cohort import Cohorts  # noqa: E402
from b12kg.countries import COUNTRIES  # noqa: E402
from b12kg.recommend import ExecutableGuideline  # noqa: E402
from tests.cohort_rows import differences, random_rows, record_of, single  # noqa: E402

RESULTS = Path(__file__).parent / "COHORT.md"
PACKAGES = ("polars", "duckdb", "narwhals", "pyspark", "pyarrow", "pandas")
MILLION = 1_000_000
COMPARED = 10 * MILLION  # rows, all ways side by side
TIMES = 5  # of each way, in turn; the median counts
EQUAL = MILLION  # random rows that every backend and the single-patient engine answer
REFERENCE_SECONDS = 20.0
KIND_OF = {
    "VitaminB12Deficiency": ("PerniciousAnemia", "SevereVitaminB12Deficiency"),
    "NeurologicalInvolvement": ("SevereNeurologicalSymptoms", "SubacuteCombinedDegeneration"),
}
PARENT = {kind: parent for parent, kinds in KIND_OF.items() for kind in kinds}
CUTS = {"DistalIleumResected": "<=20", "Hematocrit": "<35", "Homocysteine": "<10"}


# ---- rows --------------------------------------------------------------------------------------


def generated(guideline: ExecutableGuideline, rows: int) -> str:
    """A query for rows by a hash of their number: any two runs have the same; one in a thousand is at fault."""
    columns = ["i AS id"]
    for place, (name, type_) in enumerate(guideline.cohort_schema().items()):
        third = f"hash(i * 64 + {place}) % 3"
        if type_ == "boolean" and name in PARENT:  # present or unknown, so that few contradict their parents
            columns.append(f"CASE {third} WHEN 0 THEN true END AS {name}")
        elif type_ == "boolean" and name in KIND_OF:
            columns.append(
                f"CASE WHEN {third} = 0 THEN true WHEN hash(i * 64 + {place}) % 1000 = 1 THEN false END AS {name}"
            )
        elif type_ == "boolean":
            columns.append(f"CASE {third} WHEN 0 THEN true WHEN 1 THEN false END AS {name}")
        elif type_ == "double":
            high = {"DistalIleumResected": 400, "Hematocrit": 700, "Homocysteine": 200}.get(name, 9000)
            columns.append(f"CASE WHEN {third} > 0 THEN (hash(i * 64 + {place + 32}) % {high}) / 10.0 END AS {name}")
        else:
            columns.append(
                f"CASE hash(i * 64 + {place}) % 4 WHEN 0 THEN 'US' WHEN 1 THEN 'GB' WHEN 2 THEN 'DE' END AS {name}"
            )
    return f"SELECT {', '.join(columns)} FROM range({rows}) t(i)"


def write_rows(guideline: ExecutableGuideline, rows: int, path: Path) -> None:
    duckdb.sql(generated(guideline, rows)).write_parquet(str(path), row_group_size=250_000)


# ---- by hand -----------------------------------------------------------------------------------
# The same columns as ours, by somebody who knows the guideline: every feature is written out, and the tables of
# codes are taken as they are. With checks, rows that the guideline refuses are left out, as ours are.


def tables_of(cohorts: Cohorts) -> dict[str, tuple[list[str], list[int]]]:
    """For each decision its features, and the code of each row."""
    return {
        name: ([feature.name for feature in table.features], [max(code, 0) for code in table.codes])
        for name, table in cohorts.codes.tables.items()
    }


def polars_by_hand(cohorts: Cohorts, source: Path, to: Path, checks: bool) -> None:
    c = pl.col

    def digit(present: pl.Expr, absent: pl.Expr) -> pl.Expr:
        return pl.when(present).then(0).when(absent).then(1).otherwise(2).cast(pl.UInt8)

    features: dict[str, pl.Expr] = {}
    for name in (n for t, _ in tables_of(cohorts).values() for n in t):
        if name in KIND_OF:
            features[name] = digit(c(name) | c(KIND_OF[name][0]) | c(KIND_OF[name][1]), ~c(name))
        elif name in PARENT:
            features[name] = digit(c(name), ~(c(name) & c(PARENT[name])))
        elif name == "DistalIleumResected":
            features[name] = digit(c(name) <= 20, c(name) > 20)
        elif name in CUTS:
            features[name] = digit(c(name) < float(CUTS[name][1:]), c(name) >= float(CUTS[name][1:]))
        elif name == "jurisdiction":
            features[name] = digit(c(name) == "US", c(name) != "US")
        else:
            features[name] = digit(c(name), ~c(name))
    lazy = pl.scan_parquet(source).with_columns(**{f"d_{name}": made for name, made in features.items()})
    codes = []
    for decision, (names, listed) in tables_of(cohorts).items():
        row = pl.lit(0, pl.UInt32)
        for name in names:
            row = row * 3 + c(f"d_{name}").cast(pl.UInt32)
        codes.append(pl.lit(pl.Series(listed, dtype=pl.UInt16)).gather(row).alias(decision))
    if not checks:
        lazy.select("id", *codes).sink_parquet(to)
        return
    bad = ~c("jurisdiction").is_in(sorted(COUNTRIES))
    for name in ("DistalIleumResected", "Hematocrit", "Homocysteine", "SerumB12"):
        bad = bad | ~c(name).is_finite() | (c(name) < 0)
    bad = bad | (c("Hematocrit") > 100)
    for parent, (one, other) in KIND_OF.items():
        bad = bad | (~c(parent) & (c(one) | c(other)))
    lazy.select("id", *codes, bad=bad.fill_null(False)).filter(~c("bad")).drop("bad").sink_parquet(to)


def duckdb_by_hand(cohorts: Cohorts, source: Path, to: Path, checks: bool) -> None:
    def digit(present: str, absent: str) -> str:
        return f"CASE WHEN {present} THEN 0 WHEN {absent} THEN 1 ELSE 2 END"

    features: dict[str, str] = {}
    for name in (n for t, _ in tables_of(cohorts).values() for n in t):
        if name in KIND_OF:
            features[name] = digit(f"{name} OR {KIND_OF[name][0]} OR {KIND_OF[name][1]}", f"NOT {name}")
        elif name in PARENT:
            features[name] = digit(name, f"NOT ({name} AND {PARENT[name]})")
        elif name in CUTS:
            features[name] = digit(f"{name} {CUTS[name]}", f"{name} IS NOT NULL")
        elif name == "jurisdiction":
            features[name] = digit("jurisdiction = 'US'", "jurisdiction IS NOT NULL")
        else:
            features[name] = digit(name, f"NOT {name}")
    codes = []
    for decision, (names, listed) in tables_of(cohorts).items():
        row = "0"
        for name in names:
            row = f"({row} * 3 + d_{name})"
        codes.append(f"list_extract({listed}::USMALLINT[], 1 + {row}) AS {decision}")
    quantities = ("DistalIleumResected", "Hematocrit", "Homocysteine", "SerumB12")
    bad = [f"NOT isfinite({name}) OR {name} < 0" for name in quantities]
    bad.append("Hematocrit > 100")
    bad.append(f"NOT (jurisdiction IN ({', '.join(map(repr, sorted(COUNTRIES)))}))")
    bad += [f"(NOT {parent} AND ({one} OR {other}))" for parent, (one, other) in KIND_OF.items()]
    # In CASE, as ours is: each condition coalesced in a bare filter took three times as long in DuckDB 2.0.0.
    where = f"WHERE CASE WHEN {' OR '.join(bad)} THEN 1 ELSE 0 END = 0" if checks else ""
    digits = ", ".join(f"({made})::UTINYINT AS d_{name}" for name, made in features.items())
    query = f"SELECT id, {', '.join(codes)} FROM (SELECT *, {digits} FROM read_parquet('{source}')) {where}"
    with duckdb.connect(config=DUCKDB) as connection:
        connection.sql(query).write_parquet(str(to))


DUCKDB = {"preserve_insertion_order": False}


# ---- ours --------------------------------------------------------------------------------------


def polars_ours(guideline: ExecutableGuideline, source: Path, to: Path) -> None:
    guideline.recommend_table(pl.scan_parquet(source), "id").sink_parquet(to)


def duckdb_ours(guideline: ExecutableGuideline, source: Path, to: Path) -> None:
    with duckdb.connect(config=DUCKDB) as connection:
        guideline.recommend_table(connection.read_parquet(str(source)), "id").write_parquet(str(to))


def only_copied(source: Path, to: Path) -> None:
    """The reading and the writing alone: the same cells in, a key and eleven columns of the same width out."""
    lazy = pl.scan_parquet(source)
    name = pl.col
    columns = [n for n in lazy.collect_schema().names() if n != "id"]
    lazy.select("id", *(name(n).is_null().cast(pl.UInt16).alias(n) for n in columns[:11])).sink_parquet(to)


# ---- written once, in narwhals -------------------------------------------------------------------


def by_narwhals(
    cohorts: Cohorts, frame: Any, small: Callable[[Mapping[str, Sequence[int]], Mapping[str, Any]], Any]
) -> Any:
    """The codes, without checks: as narwhals has no lookup for lazy frames, each table is joined."""
    given = nw.from_native(frame)
    c = nw.col

    def digit(present: Any, absent: Any) -> Any:
        return nw.when(present).then(nw.lit(0)).otherwise(nw.when(absent).then(nw.lit(1)).otherwise(nw.lit(2)))

    features: dict[str, Any] = {}
    for name in (n for t, _ in tables_of(cohorts).values() for n in t):
        if name in KIND_OF:
            features[name] = digit(c(name) | c(KIND_OF[name][0]) | c(KIND_OF[name][1]), ~c(name))
        elif name in PARENT:
            features[name] = digit(c(name), ~(c(name) & c(PARENT[name])))
        elif name in CUTS:
            number = float(CUTS[name].lstrip("<="))
            low = c(name) <= number if "=" in CUTS[name] else c(name) < number
            features[name] = digit(low, ~low)
        elif name == "jurisdiction":
            features[name] = digit(c(name) == "US", c(name) != "US")
        else:
            features[name] = digit(c(name), ~c(name))
    made = given.with_columns(**{f"d_{name}": of.cast(nw.Int16) for name, of in features.items()})
    rows = {}
    for decision, (names, _) in tables_of(cohorts).items():
        row = nw.lit(0).cast(nw.Int16)
        for name in names:
            row = row * 3 + c(f"d_{name}")
        rows[f"r_{decision}"] = row.cast(nw.Int16)
    made = made.select("id", **rows)
    for decision, (_, listed) in tables_of(cohorts).items():
        table = small(
            {f"r_{decision}": range(len(listed)), decision: listed}, {f"r_{decision}": "Int16", decision: "UInt16"}
        )
        made = made.join(nw.from_native(table), on=f"r_{decision}", how="left")
    return made.select("id", *tables_of(cohorts)).to_native()


def polars_by_narwhals(cohorts: Cohorts, source: Path, to: Path) -> None:
    def small(columns: Mapping[str, Sequence[int]], types: Mapping[str, Any]) -> pl.LazyFrame:
        return pl.LazyFrame({n: [*v] for n, v in columns.items()}, schema={n: getattr(pl, t) for n, t in types.items()})

    by_narwhals(cohorts, pl.scan_parquet(source), small).sink_parquet(to)


def duckdb_by_narwhals(cohorts: Cohorts, source: Path, to: Path) -> None:
    with duckdb.connect(config=DUCKDB) as connection:

        def small(columns: Mapping[str, Sequence[int]], types: Mapping[str, Any]) -> Any:
            spelled = {"Int16": "SMALLINT", "UInt16": "USMALLINT"}
            parts = (f"unnest({[*v]}::{spelled[types[n]]}[]) AS {n}" for n, v in columns.items())
            return connection.sql(f"SELECT {', '.join(parts)}")

        by_narwhals(cohorts, connection.read_parquet(str(source)), small).write_parquet(str(to))


# ---- measuring ---------------------------------------------------------------------------------


def seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"benchmark: {otherwise}")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "".join(f"| {' | '.join(row)} |\n" for row in (heads, ["---"] * len(heads), *rows))


def same(one: Path, other: Path) -> bool:
    """Whether two files hold the same rows, in any order."""
    left, right = (pl.read_parquet(path).sort("id") for path in (one, other))
    return left.height == right.height > 0 and left.equals(right.cast(dict(left.schema)))


def side_by_side(guideline: ExecutableGuideline, folder: Path) -> str:
    cohorts = guideline.cohorts()
    source = folder / f"{COMPARED}.parquet"
    write_rows(guideline, COMPARED, source)
    ways: dict[str, Callable[[Path], None]] = {
        "reading and writing alone (Polars)": partial(only_copied, source),
        "Polars, by hand, no checks": lambda to: polars_by_hand(cohorts, source, to, checks=False),
        "Polars, by hand, same checks": lambda to: polars_by_hand(cohorts, source, to, checks=True),
        "Polars, ours": partial(polars_ours, guideline, source),
        "Polars, narwhals once, no checks": partial(polars_by_narwhals, cohorts, source),
        "DuckDB, by hand, no checks": lambda to: duckdb_by_hand(cohorts, source, to, checks=False),
        "DuckDB, by hand, same checks": lambda to: duckdb_by_hand(cohorts, source, to, checks=True),
        "DuckDB, ours": partial(duckdb_ours, guideline, source),
        "DuckDB, narwhals once, no checks": partial(duckdb_by_narwhals, cohorts, source),
    }
    outputs = {name: folder / f"way{place}.parquet" for place, name in enumerate(ways)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TIMES):  # in turn, so that what else the machine does falls on all
        for name, run in ways.items():
            taken[name].append(seconds(partial(run, outputs[name])))
    for one, other in (
        ("Polars, ours", "Polars, by hand, same checks"),
        ("Polars, ours", "DuckDB, ours"),
        ("Polars, ours", "DuckDB, by hand, same checks"),
        ("Polars, by hand, no checks", "Polars, narwhals once, no checks"),
        ("Polars, by hand, no checks", "DuckDB, narwhals once, no checks"),
        ("Polars, by hand, no checks", "DuckDB, by hand, no checks"),
    ):
        require(same(outputs[one], outputs[other]), f"{one} and {other} differ")
    medians = {name: statistics.median(found) for name, found in taken.items()}
    rows = []
    for name, found in medians.items():
        at_most = {"Polars, ours": "2.00 s", "DuckDB, ours": "3.00 s"}.get(name, "")
        met = "" if not at_most else "met" if found <= float(at_most.split()[0]) else "missed"
        spread = [f"{of(taken[name]):.2f} s" for of in (min, max)]
        rows.append((name, f"{found:.2f} s", *spread, at_most, met))
    refused = COMPARED - pl.scan_parquet(outputs["Polars, ours"]).select(pl.len()).collect().item()
    require(refused > COMPARED / 10_000, f"only {refused} rows are refused")
    for path in outputs.values():
        path.unlink()
    least = {name: min(found) for name, found in taken.items()}
    said = []
    for engine in ("Polars", "DuckDB"):
        for checks in ("same checks", "no checks"):
            ours, floor = f"{engine}, ours", f"{engine}, by hand, {checks}"
            said.append(
                f"* {engine}, ours to by hand, {checks}: {medians[ours] / medians[floor]:.2f} by medians, "
                f"{least[ours] / least[floor]:.2f} by least times"
                + (" (target, by medians: at most 1.3)" if floor == "Polars, by hand, same checks" else "")
                + "\n"
            )
    return (
        f"## {COMPARED:,} rows, Parquet to Parquet, {len(tables_of(cohorts))} decisions\n\n"
        f"{TIMES} runs of each in turn; {refused:,} rows are refused. Ways with checks leave these out; what comes "
        "out is the same row by row, as it is of the ways without. Targets are judged by medians. Where most and least "
        "lie far apart, something else was running, and a ratio of medians says little.\n\n"
        + table(("way", "median", "least", "most", "at most", ""), rows)
        + "\n"
        + "".join(said)
    )


# ---- growth ------------------------------------------------------------------------------------

# One run of the command's work in a process of its own: seconds, and the peak of its memory in MB.
ONE = """
import json, re, sys, time
from pathlib import Path
import b12kg
from b12kg.cohort.files import Job, run
guideline = b12kg.load()
start = time.perf_counter()
counts = run(guideline.cohorts(), Job(Path(sys.argv[1]), Path(sys.argv[2]), "id", sys.argv[3]), guideline.row)
taken = time.perf_counter() - start
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
print(json.dumps([taken, int(peak[1]) / 1024, counts.rows, counts.refused]))
"""


def growth(guideline: ExecutableGuideline, folder: Path, sizes: Sequence[int]) -> str:
    found: dict[str, list[tuple[int, float, float]]] = {"polars": [], "duckdb": []}
    for size in sizes:
        source, out = folder / f"{size}.parquet", folder / "out"
        if not source.exists():
            write_rows(guideline, size, source)
        for backend in found:
            runs = []
            for _ in range(3):
                command = [sys.executable, "-c", ONE, str(source), str(out), backend]
                environment = os.environ | {"PYTHONPATH": str(ROOT)}
                said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
                taken, peak, rows, refused = json.loads(said)
                require(rows == size and refused > 0, f"{rows} rows of {size} came out")
                runs.append((taken, peak))
                shutil.rmtree(out)
            found[backend].append((size, statistics.median(t for t, _ in runs), max(p for _, p in runs)))
        source.unlink()
    rows = [
        (
            backend,
            f"{size / MILLION:g} million",
            f"{taken:.2f} s",
            f"{size / taken / MILLION:.1f} million",
            f"{peak:.0f} MB",
        )
        for backend, points in found.items()
        for size, taken, peak in points
    ]
    said = []
    for backend, points in found.items():
        large = [(size, taken) for size, taken, _ in points if size >= 5 * MILLION]
        if len(large) >= 3:
            start, slope = least_squares(large)
            off = max(abs(taken / (start + slope * size) - 1) for size, taken in large)
            by = (large[-1][1] / large[0][1]) / (large[-1][0] / large[0][0])
            said.append(
                f"* {backend}: {start:.2f} s + {slope * MILLION:.3f} s a million rows from 5 million on (least "
                f"squares), from which no point is further than {off:.1%}. From the first to the last time grows "
                f"{by:.2f} times as much as rows do.\n"
            )
    return (
        "## Growth\n\n`b12kg cohort` "
        "without the summary: digest of the input, answers, refused rows, counts by code. "
        "Each run in a process of its own, the median of three; memory is the peak of all.\n\n"
        + table(("backend", "rows", "seconds", "rows a second", "peak memory"), rows)
        + "\n"
        + "".join(said)
    )


def least_squares(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where the line of the least relative squares starts, and how steep it is."""
    weights = [1 / y**2 for _, y in points]
    total = sum(weights)
    mean_x = sum(w * x for w, (x, _) in zip(weights, points, strict=True)) / total
    mean_y = sum(w * y for w, (_, y) in zip(weights, points, strict=True)) / total
    above = sum(w * (x - mean_x) * (y - mean_y) for w, (x, y) in zip(weights, points, strict=True))
    slope = above / sum(w * (x - mean_x) ** 2 for w, (x, _) in zip(weights, points, strict=True))
    return mean_y - slope * mean_x, slope


# ---- Spark -------------------------------------------------------------------------------------


def on_spark(guideline: ExecutableGuideline, folder: Path, sizes: Sequence[int]) -> tuple[str, Any]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.memory", "1g").getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    rows = []
    for size in sizes:
        source = folder / f"spark{size}.parquet"
        write_rows(guideline, size, source)
        frame = session.read.parquet(str(source))
        answered = guideline.recommend_table(frame, "id")
        shuffles = answered._jdf.queryExecution().executedPlan().toString().count("Exchange")
        write = answered.write.mode("overwrite").parquet
        write(str(folder / "spark"))  # what the first has compiled and loaded is not the work
        taken = statistics.median(seconds(partial(write, str(folder / "spark"))) for _ in range(3))
        require(shuffles == 0, f"{shuffles} shuffles")
        rows.append(
            (f"{size / MILLION:g} million", f"{taken:.2f} s", f"{size / taken / MILLION:.1f} million", str(shuffles))
        )
        source.unlink()
        shutil.rmtree(folder / "spark")
        answered.unpersist()
    heads = ("rows", "seconds", "rows a second", "shuffles")
    return "## Spark, local mode with 2 threads, Parquet to Parquet\n\n" + table(heads, rows), session


# ---- equality ----------------------------------------------------------------------------------


def equality(guideline: ExecutableGuideline, folder: Path, session: Any) -> str:
    """Every library and the single-patient engine, row by row."""
    types = {"boolean": pl.Boolean, "double": pl.Float64, "string": pl.String}
    schema = {name: types[type_] for name, type_ in guideline.cohort_schema().items()}
    rows = list(random_rows(guideline.content, EQUAL, seed=2026))
    frame = pl.DataFrame(rows, schema=schema).with_row_index("id").cast({"id": pl.Int64})
    frame.write_parquet(folder / "equal.parquet")
    began = time.perf_counter()
    singles = {number: single(guideline, row) for number, row in enumerate(rows)}
    one_by_one = time.perf_counter() - began
    connection = duckdb.connect()
    given: dict[str, tuple[Any, Callable[[Any], pl.DataFrame]]] = {
        "Polars": (frame, lambda f: f),
        "Polars, lazy": (frame.lazy(), lambda f: f.collect()),
        "pandas": (frame.to_pandas(use_pyarrow_extension_array=True), pl.from_pandas),
        "PyArrow": (frame.to_arrow(), lambda f: pl.DataFrame(pl.from_arrow(f))),
        "DuckDB": (connection.read_parquet(str(folder / "equal.parquet")), lambda f: f.pl()),
        "Spark": (session.read.parquet(str(folder / "equal.parquet")), lambda f: pl.from_pandas(f.toPandas())),
    }
    said = []
    for name, (of, back) in given.items():
        answered, refused = back(guideline.recommend_table(of, "id")), back(guideline.reject_table(of, "id"))
        require(answered.height + refused.height == EQUAL, f"{name} lost rows")
        codes = {row.pop("id"): row for row in answered.iter_rows(named=True)}
        found = list(differences(guideline, singles, codes, dict(refused.select("id", "reason").iter_rows())))
        require(not found, f"{name} differs: {found[:3]}")
        said.append((name, f"{answered.height:,}", f"{refused.height:,}", "0"))
    return (
        f"## Equality: {EQUAL:,} random rows\n\nAgainst the single-patient engine: the whole verdict on each decision, "
        "alerts, and the message of every reason for which a row is refused. Values lie at, "
        "just above and just below every threshold, "
        f"and some have faults. One by one the single-patient engine took {one_by_one:.0f} s.\n\n"
        + table(("library", "answered", "refused", "differences"), said)
    )


# ---- other engines -----------------------------------------------------------------------------


def reference(guideline: ExecutableGuideline) -> str:
    """pySHACL, HermiT and SPARQL on what they can finish, and cql-execution a patient."""
    rows: Iterator[Mapping[str, Any]] = random_rows(guideline.content, MILLION, seed=3, faults=0.0)
    records = (record_of(guideline.content, row) for row in rows)
    valid = (record for record in records if all(p.severity != "error" for p in guideline.validate(record)))
    guideline.recommend(next(valid), engine="reference")
    done, began = 0, time.perf_counter()
    for record in itertools.islice(valid, 1_000):
        guideline.recommend(record, engine="reference")
        done += 1
        if time.perf_counter() - began > REFERENCE_SECONDS:
            break
    each = (time.perf_counter() - began) / done
    ours = [seconds(partial(guideline.recommend, record)) for record in itertools.islice(valid, 2_000)]
    known = patients.fully_known(guideline.content, guideline.compiled.tables)
    if others.node_is_here():
        _, microseconds, node = others.cql(guideline.content, [others.plain(record) for record in known], 20)
        took = statistics.median(microseconds)
        by_cql = (f"{node}, {len(known)} patients", f"{took:.0f} us", f"{took * COMPARED / 6e7:.0f} minutes")
    else:
        by_cql = ("cql-execution", "not measured: no Node", "")
    return (
        "## Other engines\n\n"
        + table(
            ("engine", "a patient", f"{COMPARED:,} patients would take"),
            [
                (
                    f"pySHACL, HermiT and SPARQL ({done} patients)",
                    f"{each * 1e3:.0f} ms",
                    f"{each * COMPARED / 86400:.0f} days",
                ),
                (
                    "`guideline.recommend`, one by one",
                    f"{statistics.median(ours) * 1e6:.0f} us",
                    f"{statistics.median(ours) * COMPARED / 60:.0f} minutes",
                ),
                by_cql,
            ],
        )
        + "\ncql-execution is given plain values of patients of whom everything is known, and does less (RESULTS.md).\n"
    )


def main() -> None:
    sizes = [int(float(size) * MILLION) for size in sys.argv[1:]] or [n * MILLION for n in (1, 2, 5, 10, 20, 30, 50)]
    guideline = b12kg.load()
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(dir=os.environ.get("B12KG_BENCH")) as name:
        folder = Path(name)
        parts = [side_by_side(guideline, folder), growth(guideline, folder, sizes)]
        spark, session = on_spark(guideline, folder, [size for size in sizes if size <= 10 * MILLION])
        parts += [spark, equality(guideline, folder, session), reference(guideline)]
        session.stop()
    head = (
        "# Cohorts\n\nBy `make bench-cohort`, in one run.\n\n"
        f"Machine: {os.cpu_count()} cores, load {load:.1f} at the start; {platform.system()} {platform.machine()}. "
        f"b12kg {b12kg.__version__}, Python {platform.python_version()}, {versions}.\n"
    )
    text = "\n".join((head, *parts))
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
