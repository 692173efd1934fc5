"""From a record to its recommendation, in the order one would say it.

Owns the composition of the stages, for both engines, and the guideline as callers hold it. Decides nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from b12kg.compiled import Compiled, load_compiled
from b12kg.errors import InvalidRecord, Problem, UsageError
from b12kg.explain import Truths, alerts, alerts_of, answer, because, unused
from b12kg.guideline import Guideline
from b12kg.imported import ImportReport
from b12kg.outcome import Ending, Filling, Verdict
from b12kg.recommendation import Fact, Recommendation
from b12kg.record import JsonValue, Record, facts
from b12kg.records import Reading, read, read_each
from b12kg.shacl import Shapes
from b12kg.tables import Place, Tables
from b12kg.validate import validate

if TYPE_CHECKING:
    from b12kg.cohort import Cohorts, Type

Engine = Literal["table", "reference"]


def load(where: str | Path | None = None) -> ExecutableGuideline:
    """A guideline that answers records.

    Args:
        where: a folder of Turtle, or the name of a shipped guideline; None if only one is shipped.

    Raises:
        UsageError: there is no such folder or name.
        InvalidGuideline: the guideline cannot be worked with; every reason is given.

    >>> load().content.id
    'droracle-2025'
    """
    return ExecutableGuideline(load_compiled(where))


@dataclass(frozen=True, slots=True)
class ExecutableGuideline:
    """A guideline with what can be done with it; ``content`` holds what it says."""

    compiled: Compiled

    @property
    def content(self) -> Guideline:
        """What the guideline says."""
        return self.compiled.guideline

    def recommend(
        self,
        record: Mapping[str, object] | str | bytes | Path,
        *,
        format: str = "json",
        as_of: date | None = None,
        engine: Engine = "table",
    ) -> Recommendation:
        """What the guideline gives for a record: every decision, explained.

        Args:
            record: a mapping as in the JSON format or a FHIR R4 resource, the path of a file, or its content as bytes.
            format: json, turtle, nt, jsonld or fhir, where no suffix of a path says it.
            as_of: the date for a record that states none.
            engine: ``table`` looks the answer up; ``reference`` works it out by pySHACL, HermiT and SPARQL.

        Raises:
            InvalidRecord: the record is not answered; every reason is given.
            UsageError: the format or the engine is unknown, or the file cannot be read.
            ReasonerError: Java did not start, or the reasoner failed (reference only).

        >>> answer = load().recommend({"id": "urn:example:p", "asOf": "2026-01-15", "absent": ["VitaminB12Deficiency"]})
        >>> answer.decisions["InitialTreatment"].status
        'not-applicable'
        """
        if engine not in get_args(Engine):
            raise UsageError(f"no engine {engine!r}; there are {', '.join(get_args(Engine))}")
        return self._answer(read(record, self.content, format=format, as_of=as_of), engine)

    def recommend_each(
        self, data: bytes | Mapping[str, object], *, as_of: date | None = None, engine: Engine = "table"
    ) -> dict[str, Recommendation | InvalidRecord]:
        r"""What the guideline gives for every patient of a FHIR R4 input; for one who is not answered, why.

        Args:
            data: a Bundle or NDJSON.

        Returns:
            Type and id of the patient -> the answer, or the reasons for none; sorted.

        Raises:
            InvalidRecord: the input cannot be read as FHIR at all.
            UsageError: the extra that reads FHIR is not installed.

        >>> patients = b'{"resourceType": "Patient", "id": "1"}\n{"resourceType": "Patient", "id": "2"}'
        >>> [*load().recommend_each(patients, as_of=date(2026, 1, 15))]
        ['Patient/1', 'Patient/2']
        """
        found: dict[str, Recommendation | InvalidRecord] = {}
        for patient, reading in read_each(data, self.content, as_of=as_of).items():
            try:
                found[patient] = reading if isinstance(reading, InvalidRecord) else self._answer(reading, engine)
            except InvalidRecord as error:
                found[patient] = error
        return found

    def validate(
        self,
        record: Mapping[str, object] | str | bytes | Path,
        *,
        format: str = "json",
        as_of: date | None = None,
        engine: Engine = "table",
    ) -> list[Problem]:
        """What is wrong with a record (errors), or odd about it (warnings); empty if nothing is.

        Arguments as in :meth:`recommend`.

        >>> [p.path for p in load().validate({"id": "p", "asOf": "2026-01-15", "present": ["PerniciousAnaemia"]})]
        ['present[0]']
        """
        try:
            reading = read(record, self.content, format=format, as_of=as_of)
        except InvalidRecord as error:
            return list(error.problems)
        return reading.located(self._problems(reading, engine))

    def _answer(self, reading: Reading, engine: Engine) -> Recommendation:
        return recommend(self.compiled, reading.record, self._valid(reading, engine), engine, reading.imported)

    def _valid(self, reading: Reading, engine: Engine) -> tuple[Problem, ...]:
        """The warnings about a record that was read, if there are no errors."""
        problems = self._problems(reading, engine)
        if errors := [problem for problem in problems if problem.severity == "error"]:
            raise InvalidRecord(reading.located(errors))
        return tuple(problems)

    def _problems(self, reading: Reading, engine: Engine) -> list[Problem]:
        return [*reading.problems, *validate(reading.record, self.content, self._shapes(engine))]

    # ---- frames ------------------------------------------------------------------------------

    def cohort_schema(self) -> dict[str, Type]:
        """The columns that a frame may have, each ``boolean``, ``string`` or ``double``; null is unknown.

        A quantity is in :meth:`cohort_units`. A text column of its name and ``_unit`` may say so for every row.

        >>> load().cohort_schema()["DistalIleumResected"], load().cohort_units()["DistalIleumResected"]
        ('double', 'cm')
        """
        from b12kg.cohort import schema

        return schema(self.content)

    def cohort_units(self) -> dict[str, str]:
        """The unit, in UCUM spelling, of each column of numbers."""
        return {name: quantity.unit for name, quantity in self.content.quantities.items()}

    def recommend_table(self, frame: Any, key: str | None = None) -> Any:
        """One code a decision for every row of a frame that is not refused, as a frame of the same library.

        Args:
            frame: of Polars (eager or lazy), pandas, PyArrow, DuckDB or PySpark, with columns of :meth:`cohort_schema`.
            key: the column that names a row; without one, a row's number from 0 as ``row``.

        Returns:
            The key, and a column a decision with codes from 0 on, whose meaning :meth:`outcomes` holds: 16 bits,
            unsigned (``int`` in Spark, which has no such type). What was lazy stays unevaluated.

        Raises:
            UsageError: a column has no meaning, no column has one, or it is no such frame.

        >>> import polars as pl
        >>> frame = pl.DataFrame({"VitaminB12Deficiency": [False, None]})
        >>> load().recommend_table(frame).select("row", "FolicAcid").rows()
        [(0, 7), (1, 20)]
        """
        return self.cohorts().recommend(frame, key)

    def reject_table(self, frame: Any, key: str | None = None) -> Any:
        """The rows of a frame that are refused: the key, and every reason in ``reason``, with `` | `` between them.

        Arguments and errors as of :meth:`recommend_table`; each row is in one of the two tables.

        >>> import polars as pl
        >>> load().reject_table(pl.DataFrame({"Hematocrit": [41.0, float("nan")]})).item(0, "row")
        1
        """
        return self.cohorts().reject(frame, key)

    def outcomes(self) -> list[dict[str, JsonValue]]:
        """What each code of each decision stands for, by decision and code.

        >>> [row["status"] for row in load().outcomes() if row["decision"] == "Assessment"]
        ['recommended']
        """
        return [{**row} for row in self.cohorts().outcomes]

    def decode(self, frame: Any, explain: bool = False) -> Any:
        """A frame of codes with what they stand for, in columns such as ``Decision_status`` of text.

        Args:
            frame: of any of the libraries, with a column of codes for one decision or more.
            explain: also the rules by their state, the passages, and what an open decision may come to.

        Several names in one text have ``|`` between them, in the order of :meth:`outcomes`.

        Raises:
            UsageError: there is no column of codes, or it is no such frame.

        >>> import polars as pl
        >>> codes = load().recommend_table(pl.DataFrame({"VitaminB12Deficiency": [None, False]}))
        >>> load().decode(codes).select("FolicAcid_status", "FolicAcid_missing").rows()
        [('undetermined', 'B12TreatmentStarted|VitaminB12Deficiency'), ('not-applicable', '')]
        """
        return self.cohorts().decode(frame, explain)

    def row(self, record: Mapping[str, object] | bytes, *, as_of: date | None = None) -> tuple[str, dict[str, object]]:
        """The identifier of a record, and what it states as a row of :meth:`cohort_schema`.

        Of a value of which only a bound is known, the row has a number on the same side of every threshold.

        Raises:
            InvalidRecord: the record is not answered; every reason is given.

        >>> load().row({"id": "urn:example:p", "asOf": "2026-01-15", "absent": ["BariatricSurgery"]})
        ('urn:example:p', {'BariatricSurgery': False})
        """
        from b12kg.cohort import row_of

        reading = read(record, self.content, as_of=as_of)
        self._valid(reading, "table")
        return reading.record.id, row_of(reading.record, self.content)

    def cohorts(self) -> Cohorts:
        """The guideline as it answers frames, whatever their library; worked out anew, in some milliseconds."""
        from b12kg.cohort import Cohorts

        compiled = self.compiled
        return Cohorts(compiled.guideline, compiled.tables, compiled.shapes, partial(alerts_of, compiled.guideline))

    def _shapes(self, engine: Engine) -> Shapes | None:
        return self.compiled.shapes if engine == "table" else None


def recommend(
    compiled: Compiled,
    record: Record,
    warnings: tuple[Problem, ...] = (),
    engine: Engine = "table",
    imported: ImportReport | None = None,
) -> Recommendation:
    """Every decision for a valid record, by one of the engines.

    Raises:
        InvalidRecord: no patient can be as the record states.
        ReasonerError: the reasoner failed (reference only).
    """
    guideline, tables = compiled.guideline, compiled.tables
    known = facts(record, guideline)
    place = tables.place(known)
    verdicts, truth = _looked_up(tables, place) if engine == "table" else _worked_out(guideline, record)
    found: dict[str, tuple[Fact, ...]] = {}

    def reasons(phenotype: str) -> tuple[Fact, ...]:
        if phenotype not in found:  # several rules are about one phenotype
            found[phenotype] = because(guideline, known, truth, phenotype)
        return found[phenotype]

    return Recommendation(
        guideline=guideline,
        record=record,
        engine=engine,
        decisions={name: answer(guideline, name, verdict, reasons, truth) for name, verdict in verdicts.items()},
        alerts=tuple(alerts(guideline, verdicts, truth)),
        notices=record.outside,
        warnings=warnings,
        unused=unused(guideline, record, known),
        facts=known,
        tables=tables,
        place=place,
        imported=imported,
    )


def _looked_up(tables: Tables, place: Place) -> tuple[dict[str, Verdict], Truths]:
    """What the tables hold for a patient: the verdict on each decision, and the truth of each phenotype."""
    if not place.possible:
        raise _contradiction()
    verdicts = {name: table.at(place.decisions[name]) for name, table in tables.decisions.items()}
    return verdicts, lambda phenotype: tables.phenotypes[phenotype].at(place.phenotypes[phenotype])


def _worked_out(guideline: Guideline, record: Record) -> tuple[dict[str, Verdict], Truths]:
    """The same by HermiT and SPARQL, over every way to fill in what is unknown."""
    from b12kg.classify import reasoner
    from b12kg.decide import decide
    from b12kg.outcome import verdict
    from b12kg.record import patient

    hermit, who = reasoner(guideline), patient(record, guideline)
    if not hermit.possible(who):
        raise _contradiction()
    possible = hermit.fillings_of(who)
    ended: dict[str, list[tuple[Filling, Ending]]] = {name: [] for name in guideline.decisions}
    for (filling, _), ending in zip(possible, decide(guideline, possible), strict=True):
        ended[filling.decision].append((filling, ending))
    verdicts = {name: verdict(guideline, name, endings) for name, endings in ended.items()}
    return verdicts, partial(hermit.truth, who)


def _contradiction() -> InvalidRecord:
    return InvalidRecord([Problem("record", "no patient can be as it states, by the axioms of the guideline")])
