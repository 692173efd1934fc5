"""The same frames on Spark, in local mode: the expression that DuckDB runs, in Spark's own spelling."""

from __future__ import annotations

import gc
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from b12kg.cohort.files import Job, run
from b12kg.errors import UsageError
from b12kg.recommend import ExecutableGuideline
from tests.cohort_rows import differences, random_rows
from tests.test_cohort import frame_of, singles

ROWS = 1500


def java() -> int | None:
    """The version of the Java that Spark would start."""
    path = shutil.which("java")
    if path is None:
        return None
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=True).stderr
    found = re.search(r'version "(\d+)', said)
    return int(found[1]) if found else None


def unsuitable() -> str | None:
    version = java()
    return None if version in (17, 21) else f"Spark 4.0 needs Java 17 or 21; there is {version or 'none'}"


pytestmark = [
    pytest.mark.skipif(unsuitable() is not None, reason=str(unsuitable())),
    # py4j leaves it to the garbage collector to close its connections to Java.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    made = builder.config("spark.driver.host", "127.0.0.1").config("spark.sql.shuffle.partitions", "2").getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    yield made
    made.stop()
    gc.collect()  # here, where what it finds is expected


def test_random_rows_are_what_single_records_are_answered(
    executable: ExecutableGuideline, session: Any, tmp_path: Path
) -> None:
    rows = list(random_rows(executable.content, ROWS, seed=8))
    frame_of(executable, rows).with_row_index("id").cast({"id": pl.Int64}).write_parquet(tmp_path / "in.parquet")
    frame = session.read.parquet(str(tmp_path / "in.parquet")).repartition(4)
    answered, refused = executable.recommend_table(frame, "id"), executable.reject_table(frame, "id")
    assert type(answered) is type(frame)
    plan = answered._jdf.queryExecution().toString()
    assert "Python" not in plan  # every expression is Spark's own
    assert "Join" not in plan  # the tables are in the expression, so nothing is shuffled
    codes = {row.pop("id"): row for row in (found.asDict() for found in answered.collect())}
    reasons = {row["id"]: row["reason"] for row in refused.collect()}
    assert len(codes) + len(reasons) == ROWS
    assert len(reasons) > 10
    assert list(differences(executable, singles(executable, rows), codes, reasons)) == []
    decoded = executable.decode(answered).collect()
    said = {(row["decision"], row["code"]): row for row in executable.outcomes()}
    assert len(decoded) == len(codes)
    for row in decoded:
        assert row["FolicAcid_status"] == said["FolicAcid", row["FolicAcid"]]["status"]
    with pytest.raises(UsageError, match="no order to number them by"):
        executable.recommend_table(frame.drop("id"))


def test_the_command_counts_as_polars_does(executable: ExecutableGuideline, session: Any, tmp_path: Path) -> None:
    rows = list(random_rows(executable.content, ROWS, seed=9))
    frame_of(executable, rows).with_row_index("id").cast({"id": pl.Int64}).write_parquet(tmp_path / "in.parquet")
    counts = [
        run(executable.cohorts(), Job(tmp_path / "in.parquet", tmp_path / str(backend), "id", backend), executable.row)
        for backend in ("polars", "spark")
    ]
    again = run(executable.cohorts(), Job(tmp_path / "in.parquet", tmp_path / "spark", "id", "spark"), executable.row)
    assert counts[0].to_dict() == counts[1].to_dict() == again.to_dict()
    with pytest.raises(UsageError, match="name a key"):
        run(executable.cohorts(), Job(tmp_path / "in.parquet", tmp_path / "no", None, "spark"), executable.row)
