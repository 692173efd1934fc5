"""Frames against single records, row by row, in every library; what is refused, and in what words."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import b12kg
from b12kg.cohort.frames import Frame
from b12kg.cohort.outcomes import Codes
from b12kg.cohort.plan import ROW
from b12kg.errors import UnsupportedConstruct, UsageError
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.recommend import ExecutableGuideline
from b12kg.tables import NOBODY
from tests.cohort_rows import Answered, Row, differences, random_rows, record_of, single
from tests.conftest import SECOND

POLARS_TYPES = {"boolean": pl.Boolean, "double": pl.Float64, "string": pl.String}
SAMPLE = 4000


def frame_of(executable: ExecutableGuideline, rows: list[Row]) -> pl.DataFrame:
    schema = {name: POLARS_TYPES[type_] for name, type_ in executable.cohort_schema().items()}
    return pl.DataFrame(rows, schema=schema)


def to_duckdb(frame: pl.DataFrame) -> Any:
    connection = duckdb.connect()
    connection.register("given", frame.to_arrow())
    return connection.sql("SELECT * FROM given")


def to_pandas(frame: pl.DataFrame) -> Any:
    return frame.to_pandas(use_pyarrow_extension_array=True)


TO: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda frame: frame,
    "polars-lazy": lambda frame: frame.lazy(),
    "pandas": to_pandas,
    "pyarrow": lambda frame: frame.to_arrow(),
    "duckdb": to_duckdb,
}
BACK: dict[str, Callable[[Any], pl.DataFrame]] = {
    "polars": lambda frame: frame,
    "polars-lazy": lambda frame: frame.collect(),
    "pandas": lambda frame: pl.from_pandas(frame),
    "pyarrow": lambda frame: pl.DataFrame(pl.from_arrow(frame)),
    "duckdb": lambda frame: frame.pl(),
}
KIND: dict[str, type] = {
    "polars": pl.DataFrame,
    "polars-lazy": pl.LazyFrame,
    "pandas": pd.DataFrame,
    "pyarrow": pa.Table,
    "duckdb": duckdb.DuckDBPyRelation,
}


def answers(
    executable: ExecutableGuideline, frame: pl.DataFrame, library: str, key: str | None = None
) -> tuple[dict[Any, Mapping[str, int]], dict[Any, str]]:
    """The codes and the reasons by key, with each row in exactly one of them."""
    given = TO[library](frame)
    out, rejects = executable.recommend_table(given, key), executable.reject_table(given, key)
    assert isinstance(out, KIND[library])
    assert isinstance(rejects, KIND[library])
    name = key or ROW
    codes: dict[Any, Mapping[str, int]] = {row.pop(name): row for row in BACK[library](out).to_dicts()}
    reasons = {row[name]: row["reason"] for row in BACK[library](rejects).to_dicts()}
    assert not codes.keys() & reasons.keys()
    assert len(codes) + len(reasons) == frame.height
    return codes, reasons


@pytest.fixture(scope="module", params=["droracle-2025", "second", "tied", "exclusive", "at_one_number"])
def any_guideline(request: pytest.FixtureRequest) -> ExecutableGuideline:
    if request.param in ("droracle-2025", "second"):
        return b12kg.load(SECOND if request.param == "second" else request.param)
    found: ExecutableGuideline = request.getfixturevalue(request.param)
    return found


Singles = dict[int, Answered | frozenset[str]]


def singles(executable: ExecutableGuideline, rows: list[Row]) -> Singles:
    return {number: single(executable, row) for number, row in enumerate(rows)}


# ---- equality ----------------------------------------------------------------------------------


def every_row(guideline: Guideline, features: tuple[str, ...]) -> Iterator[Row]:
    """A row for every way in which features are known or unknown, the impossible ones included."""
    cells: list[list[Any]] = []
    for name in features:
        if name in guideline.concepts:
            cells.append([True, False, None])
        elif name == JURISDICTION:
            cells.append([*guideline.codes_of_jurisdiction(), "DE", None])
        else:
            bounds = sorted({bound.value for bin_ in guideline.bins_of(name) for bound in bin_.restrictions})
            cells.append([*(float(bound) + step for bound in bounds for step in (-0.1, 0.0, 0.1)), None])
    for combination in itertools.product(*cells):
        yield dict(zip(features, combination, strict=True))


@pytest.mark.parametrize("library", ["polars", "duckdb"])
def test_every_row_of_every_decision_is_what_a_single_record_is_answered(
    any_guideline: ExecutableGuideline, library: str
) -> None:
    guideline = any_guideline.content
    compared = 0
    for decision, table in any_guideline.cohorts().codes.tables.items():
        rows = list(every_row(guideline, tuple(feature.name for feature in table.features)))
        codes, reasons = answers(any_guideline, frame_of(any_guideline, rows), library)
        assert list(differences(any_guideline, singles(any_guideline, rows), codes, reasons)) == [], decision
        reached = {code[decision] for code in codes.values()}
        assert reached == set(range(len(any_guideline.cohorts().codes.outcomes[decision]))), decision
        compared += len(rows)
    assert compared > 100


@pytest.fixture(scope="module")
def sample(any_guideline: ExecutableGuideline) -> tuple[list[Row], Singles]:
    rows = list(random_rows(any_guideline.content, SAMPLE, seed=6))
    return rows, singles(any_guideline, rows)


@pytest.mark.parametrize("library", TO)
def test_random_rows_are_what_single_records_are_answered(
    any_guideline: ExecutableGuideline, sample: tuple[list[Row], Singles], library: str
) -> None:
    rows, expected = sample
    codes, reasons = answers(any_guideline, frame_of(any_guideline, rows), library)
    assert len(codes) > SAMPLE / 3
    assert len(reasons) > SAMPLE / 50
    assert list(differences(any_guideline, expected, codes, reasons)) == []


def test_a_wrong_code_a_lost_row_and_a_wrong_reason_are_differences(executable: ExecutableGuideline) -> None:
    given = list(random_rows(executable.content, 300, seed=1))
    rows = singles(executable, given)
    codes, reasons = answers(executable, frame_of(executable, given), "polars")
    assert list(differences(executable, rows, codes, reasons)) == []
    answered, refused = min(codes), min(reasons)
    wrong = {**codes[answered], "MaintenanceTreatment": 0 if codes[answered]["MaintenanceTreatment"] else 1}
    assert list(differences(executable, rows, {**codes, answered: wrong}, reasons))
    assert list(differences(executable, rows, {k: c for k, c in codes.items() if k != answered}, reasons))
    assert list(differences(executable, rows, codes, {**reasons, refused: "asOf: missing"}))
    assert list(differences(executable, rows, {**codes, refused: codes[answered]}, reasons))


# ---- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize("library", TO)
@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"Hematocrit": float("nan")}, ["Hematocrit: no number that JSON carries exactly"]),
        ({"Homocysteine": float("-inf")}, ["Homocysteine: no number that JSON carries exactly"]),
        ({"SerumB12": -1.0}, ["SerumB12: a concentration cannot be negative"]),
        ({"Hematocrit": 100.1}, ["Hematocrit: a share of a volume is from 0 to 100 %"]),
        ({"jurisdiction": "UK"}, ["jurisdiction: no country code"]),
        (
            {"PerniciousAnemia": True, "VitaminB12Deficiency": False},
            ["VitaminB12Deficiency: VitaminB12Deficiency is stated as absent while a kind of it is stated as present"],
        ),
        (
            {"SerumB12": -1.0, "jurisdiction": "XX"},
            ["jurisdiction: no country code", "SerumB12: a concentration cannot be negative"],
        ),
    ],
)
def test_a_row_that_a_single_record_is_refused_for_is_refused_with_its_reason(
    executable: ExecutableGuideline, library: str, row: Row, said: list[str]
) -> None:
    expected = single(executable, row)
    assert isinstance(expected, frozenset)
    frame = frame_of(executable, [{}, row, {"Hematocrit": 41.0}])
    codes, reasons = answers(executable, frame, library)
    assert codes.keys() == {0, 2}
    assert [part.partition(" (")[0] for part in reasons[1].split(" | ")] == said
    assert {text.partition(": ")[2] for text in said} == expected


def test_what_is_only_odd_is_answered(executable: ExecutableGuideline) -> None:
    assert executable.validate({"id": "p", "asOf": "2026-01-15", "measurements": [
        {"of": "Hematocrit", "value": 80, "unit": "%"}]})[0].severity == "warning"  # fmt: skip
    codes, _ = answers(executable, frame_of(executable, [{"Hematocrit": 80.0}]), "polars")
    assert codes.keys() == {0}


@pytest.mark.parametrize("library", TO)
@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("BariatricSurgery", ["yes", None], "neither true nor false"),
        ("BariatricSurgery", [1, None], "neither true nor false"),
        ("Hematocrit", ["41", None], "not a number"),
        ("Hematocrit", [True, None], "not a number"),
        ("Hematocrit", [2**53 + 2, None], "no number that JSON carries exactly"),
        ("jurisdiction", [1.0, None], "no country code"),
    ],
)
def test_a_column_of_the_wrong_type_is_refused_row_by_row(
    executable: ExecutableGuideline, library: str, column: str, values: list[Any], reason: str
) -> None:
    codes, reasons = answers(executable, pl.DataFrame({"id": ["a", "b"], column: values}), library, "id")
    assert codes.keys() == {"b"}
    assert reasons.keys() == {"a"}
    assert reason in str(reasons)


@pytest.mark.parametrize("library", TO)
@pytest.mark.parametrize("type_", [pl.Int8, pl.Int64, pl.UInt16, pl.Decimal(9, 2), pl.Decimal(30, 2)])
def test_numbers_of_other_exact_types_are_answered(executable: ExecutableGuideline, library: str, type_: Any) -> None:
    frame = pl.DataFrame({"DistalIleumResected": pl.Series([20, 21, None]).cast(type_)})
    expected, _ = answers(executable, frame.cast(pl.Float64), "polars")
    assert len({code["MaintenanceTreatment"] for code in expected.values()}) == 3
    assert answers(executable, frame, library) == (expected, {})


@pytest.mark.parametrize("library", ["polars", "duckdb", "pyarrow"])
def test_decimals_of_many_digits_are_answered_where_a_double_is_one(
    executable: ExecutableGuideline, library: str
) -> None:
    values = [Decimal("41.3"), Decimal(0), None, Decimal("34.999999999999999999")]
    frame = pl.DataFrame({"Hematocrit": pl.Series(values, dtype=pl.Decimal(38, 18))})
    codes, reasons = answers(executable, frame, library)
    assert codes == answers(executable, pl.DataFrame({"Hematocrit": [41.3, 0.0, None]}), "polars")[0]
    assert reasons.keys() == {3}
    assert "no number that JSON carries exactly" in reasons[3]


@pytest.mark.parametrize("key", ["folicacid", "REASON", "FolicAcid_status", "hematocrit", 5])
def test_a_key_that_an_engine_could_take_for_another_column_is_refused(
    executable: ExecutableGuideline, key: Any
) -> None:
    frame = pl.DataFrame({str(key): ["a"], "PerniciousAnemia": [True]})
    with pytest.raises(UsageError, match="the key"):
        executable.recommend_table(frame, key=key)


def test_a_table_that_cannot_be_read_is_told_by_its_columns(executable: ExecutableGuideline) -> None:
    twice = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["Hematocrit", "Hematocrit"])
    with pytest.raises(UsageError, match="Hematocrit: double, Hematocrit: double"):
        executable.recommend_table(twice)
    mixed = pd.DataFrame({"Hematocrit": pd.Series([41.0, "Mrs Doe"], dtype="object")})
    with pytest.raises(UsageError, match="'Hematocrit' holds values of several types") as error:
        executable.recommend_table(mixed)
    assert "Doe" not in str(error.value)


def test_single_precision_is_refused(executable: ExecutableGuideline) -> None:
    _, reasons = answers(executable, pl.DataFrame({"Hematocrit": pl.Series([41.3], dtype=pl.Float32)}), "polars")
    assert "not a number (found: Float32" in reasons[0]


@pytest.mark.parametrize("library", TO)
def test_a_column_may_say_its_unit(executable: ExecutableGuideline, library: str) -> None:
    frame = pl.DataFrame(
        {
            "SerumB12": [300.0, 300.0, 300.0, None],
            "SerumB12_unit": ["ng/L", "pmol/L", None, None],
            "Homocysteine": [12.0] * 4,
            "Homocysteine_unit": ["\u00b5mol/L"] * 4,
        }
    )
    codes, reasons = answers(executable, frame, library)
    assert codes.keys() == {0, 3}
    assert "not the unit of the column SerumB12 (accepted: ng/L)" in reasons[1]
    assert "SerumB12 has no unit; a unit is never guessed" in reasons[2]


@pytest.mark.parametrize("library", TO)
def test_a_row_without_a_key_is_refused(executable: ExecutableGuideline, library: str) -> None:
    codes, reasons = answers(executable, pl.DataFrame({"id": ["a", None], "Hematocrit": [41.0, 41.0]}), library, "id")
    assert codes.keys() == {"a"}
    assert list(reasons) == [None]


@pytest.mark.parametrize(
    ("columns", "key", "said"),
    [
        ({"PerniciousAnaemia": [True]}, None, "perhaps 'PerniciousAnemia' is meant"),
        ({"Hematocrit": [41.0], "Hematocrit_units": ["%"]}, None, "perhaps 'Hematocrit_unit' is meant"),
        ({"Hematocrit": [41.0], "weight": [1.0]}, None, "'weight'"),
        ({"Hematocrit": [41.0], "patient": [1]}, "patients", "perhaps 'patient' is meant"),
        ({"id": [1]}, "id", "no column of the guideline at all"),
        ({"Hematocrit": [41.0]}, "Hematocrit", "the key cannot be 'Hematocrit'"),
        ({"Hematocrit": [41.0], "FolicAcid": [1]}, "FolicAcid", "the key cannot be 'FolicAcid'"),
    ],
)
@pytest.mark.parametrize("library", TO)
def test_columns_that_mean_nothing_are_an_error(
    executable: ExecutableGuideline, library: str, columns: dict[str, list[Any]], key: str | None, said: str
) -> None:
    for table in (executable.recommend_table, executable.reject_table):
        with pytest.raises(UsageError) as error:
            table(TO[library](pl.DataFrame(columns)), key)
        assert said in str(error.value)


@pytest.mark.parametrize("library", TO)
def test_columns_that_cannot_be_wrong_refuse_nothing(executable: ExecutableGuideline, library: str) -> None:
    frame = pl.DataFrame({"BariatricSurgery": [True, None], "Hematocrit": pl.Series([None, None], dtype=pl.Float64)})
    codes, reasons = answers(executable, frame.drop("Hematocrit"), library)
    assert (codes, reasons) == answers(executable, frame, library)
    assert reasons == {}


def test_what_is_no_frame_is_an_error(executable: ExecutableGuideline) -> None:
    with pytest.raises(UsageError, match=r"a frame of Polars .* is needed, not builtins.list"):
        executable.recommend_table([{"Hematocrit": 41.0}])


def test_no_number_in_pandas_own_columns_is_unknown(executable: ExecutableGuideline) -> None:
    frame = pd.DataFrame({"Homocysteine": [12.0, None], "BariatricSurgery": [None, True]})
    assert frame["Homocysteine"].dtype == "float64"
    codes = executable.recommend_table(frame)
    expected = executable.recommend_table(
        pl.DataFrame({"Homocysteine": [12.0, None], "BariatricSurgery": [None, True]})
    )
    assert codes.to_dict("records") == expected.to_dicts()
    mixed = pd.DataFrame({"BariatricSurgery": pd.Series([True, "yes"], dtype=object)})
    with pytest.raises(UsageError, match="holds values of several types"):
        executable.recommend_table(mixed)


# ---- what a guideline may bring ------------------------------------------------------------------


def test_nobody_by_the_axioms_is_refused(tied: ExecutableGuideline) -> None:
    row = {"HayFever": True}
    assert single(tied, row) == frozenset({"no patient can be as it states, by the axioms of the guideline"})
    for library in TO:
        _, reasons = answers(tied, frame_of(tied, [row]), library)
        assert reasons == {0: "record: no patient can be as it states, by the axioms of the guideline"}


@pytest.mark.parametrize(
    "shape",
    [
        "sh:targetClass b12:Record ; sh:property [ sh:path b12:statesAbsent ; sh:maxCount 3 ; {} ]",
        "sh:targetClass ex:Temperature ; sh:property [ sh:path b12:on ; sh:minCount 1 ; {} ]",
    ],
)
def test_a_shape_without_a_meaning_for_rows_is_refused(tmp_path: Path, shape: str) -> None:
    said = 'sh:severity sh:Violation ; sh:message "odd"@en'
    prefixes = "@prefix b12: <https://w3id.org/b12kg/> .\n@prefix sh: <http://www.w3.org/ns/shacl#> .\n"
    prefixes += "@prefix ex: <https://example.org/second/> .\n"
    for path in SECOND.glob("*.ttl"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "shapes.ttl").write_text(prefixes + f"ex:odd a sh:NodeShape ; {shape.format(said)} .", encoding="utf-8")
    executable = b12kg.load(tmp_path)
    with pytest.raises(UnsupportedConstruct, match="a shape that has no meaning for columns"):
        executable.recommend_table(pl.DataFrame({"Cold": [True]}))


def test_a_jurisdiction_can_be_asked_for(tmp_path: Path) -> None:
    for path in SECOND.glob("*.ttl"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "shapes.ttl").write_text(
        "@prefix b12: <https://w3id.org/b12kg/> .\n@prefix sh: <http://www.w3.org/ns/shacl#> .\n"
        "<urn:x> a sh:NodeShape ; sh:targetClass b12:Record ; sh:property [ sh:path b12:jurisdiction ; "
        'sh:minCount 1 ; sh:severity sh:Violation ; sh:message "where?"@en ] .',
        encoding="utf-8",
    )
    executable = b12kg.load(tmp_path)
    _, reasons = answers(executable, pl.DataFrame({"Cold": [True, False], "jurisdiction": [None, "FR"]}), "polars")
    assert reasons == {0: "jurisdiction: where?"}
    assert answers(executable, pl.DataFrame({"Cold": [True]}), "duckdb")[1] == {0: "jurisdiction: where?"}


def test_a_row_without_a_code_that_nothing_refuses_is_found(executable: ExecutableGuideline) -> None:
    cohorts = executable.cohorts()
    table = cohorts.codes.tables["FolicAcid"]
    row = table.row({"VitaminB12Deficiency": "present"})
    holed = dataclasses.replace(table, codes=[NOBODY if n == row else code for n, code in enumerate(table.codes)])
    cohorts.codes = Codes({**cohorts.codes.tables, "FolicAcid": holed}, cohorts.codes.outcomes)
    with pytest.raises(UnsupportedConstruct, match="nothing refuses a patient who cannot be"):
        cohorts.recommend(pl.DataFrame({"VitaminB12Deficiency": [True]}), None)


def test_more_outcomes_than_codes_are_refused(executable: ExecutableGuideline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("b12kg.cohort.outcomes.MOST", 100)
    with pytest.raises(UnsupportedConstruct, match="more outcomes than there are codes"):
        executable.cohorts()


def test_a_bound_that_no_double_is_written_as_is_refused(tmp_path: Path) -> None:
    for path in SECOND.glob("*.ttl"):
        text = path.read_text(encoding="utf-8").replace(
            "xsd:minInclusive 38.0", "xsd:minInclusive 38.00000000000000000001"
        )
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    executable = b12kg.load(tmp_path)
    with pytest.raises(UnsupportedConstruct, match="no double is written as this bound"):
        executable.recommend_table(pl.DataFrame({"Temperature": [38.0]}))


# ---- what codes stand for --------------------------------------------------------------------------


@pytest.mark.parametrize("library", TO)
def test_decoded_columns_say_what_the_answer_says(executable: ExecutableGuideline, library: str) -> None:
    rows = list(random_rows(executable.content, 300, seed=2, faults=0.0))
    codes = executable.recommend_table(TO[library](frame_of(executable, rows)))
    decoded = BACK[library](executable.decode(codes, explain=True)).sort(ROW).to_dicts()
    assert len(decoded) > 200
    for found in decoded:
        answer = executable.recommend(record_of(executable.content, rows[found[ROW]]))
        for name, decision in answer.decisions.items():
            form = decision.outcome
            assert found[f"{name}_status"] == form.status
            assert found[f"{name}_recommended"] == "|".join(form.recommended)
            assert found[f"{name}_conflicting"] == "|".join(form.conflicting)
            assert found[f"{name}_alternatives"] == "|".join(form.alternatives)
            assert found[f"{name}_missing"] == "|".join(form.missing)
            applies = [finding for finding in decision.rules if finding.state == "applies"]
            assert found[f"{name}_applies"] == "|".join(finding.rule.name for finding in applies)
            passages = sorted({passage for finding in applies for passage in finding.passages})
            assert found[f"{name}_passages"] == "|".join(passages)


def test_decoding_needs_codes(executable: ExecutableGuideline) -> None:
    with pytest.raises(UsageError, match="no column of codes; they are named InitialTreatment"):
        executable.decode(pl.DataFrame({"row": [1]}))


@pytest.mark.parametrize("library", ["polars", "duckdb"])
@pytest.mark.parametrize("code", [-1, 1, 70_000])
def test_a_code_that_is_none_is_an_error_and_an_unknown_one_is_null(
    executable: ExecutableGuideline, library: str, code: int
) -> None:
    def decoded(value: int | None) -> list[tuple[Any, ...]]:
        frame = pl.DataFrame({"Assessment": [value]}, schema={"Assessment": pl.Int64})
        found: list[tuple[Any, ...]]
        if library == "polars":
            found = executable.decode(frame).select("Assessment_status").rows()
        else:
            relation = duckdb.connect().from_arrow(frame.to_arrow())
            found = executable.decode(relation).select("Assessment_status").fetchall()
        return found

    assert decoded(0) == [("recommended",)]
    assert decoded(None) == [(None,)]
    with pytest.raises((pl.exceptions.PolarsError, duckdb.Error)):
        decoded(code)


def test_masks_of_the_companion_say_what_its_names_say(executable: ExecutableGuideline) -> None:
    rules = {name: [r.name for r in executable.content.rules_of(name)] for name in executable.content.decisions}
    outcomes = executable.outcomes()
    assert len(outcomes) > 500
    assert {row["decision"] for row in outcomes} == set(rules)
    for row in outcomes:
        decision = str(row["decision"])
        features = [feature.name for feature in executable.cohorts().codes.tables[decision].features]
        for state in ("applies", "overridden", "excluded", "unknown"):
            assert [rule for place, rule in enumerate(rules[decision]) if _bit(row[f"{state}Mask"], place)] == row[
                state
            ]
        missing = row["missing"]
        assert isinstance(missing, list)
        assert {f for place, f in enumerate(features) if _bit(row["missingMask"], place)} == set(missing)


def _bit(mask: object, place: int) -> bool:
    assert isinstance(mask, int)
    return bool(mask >> place & 1)


def test_frames_stay_unevaluated_where_they_were(executable: ExecutableGuideline) -> None:
    lazy = pl.LazyFrame({"Hematocrit": [41.0]}).with_columns(pl.col("Hematocrit").map_elements(_never, pl.Float64))
    assert isinstance(executable.recommend_table(lazy), pl.LazyFrame)
    assert Frame(lazy).library == "polars lazy"


def _never(_: float) -> float:
    raise AssertionError("evaluated")


def test_the_schema_is_what_frames_may_have(executable: ExecutableGuideline) -> None:
    schema, units = executable.cohort_schema(), executable.cohort_units()
    assert {name for name, type_ in schema.items() if type_ == "double"} == units.keys()
    assert schema["SubacuteCombinedDegeneration"] == "boolean"
    assert schema["jurisdiction"] == "string"
