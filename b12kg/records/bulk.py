"""A FHIR bulk export (NDJSON, one resource a line) to one row of features a patient.

Owns which lines of an export can state a fact, how lines that state the same are recognised, and what
the facts of a patient come to where no judgement is needed. What a resource states is for resource.py
and what contradicting or undated resources come to is for fhir.py: neither is written here again.

A line that contains no code of the mapping can state no fact, whatever its form: it is looked at for whom it
is about only. Of the other lines the *form* is taken, which is the line without what tells two such resources
apart (ids, references, days), and the reader of single patients reads each form once. A patient whose facts
neither contradict each other nor leave open which is the latest has these facts; every other patient is read by
that reader, from the patient's own lines.

Not done: what can state no fact is not validated, which are lines without a code of the mapping and the elements
of a Patient other than its id and birthDate, and two such lines of one id are not compared; and bounds on the size of
one input hold for what the reader of single patients is given, not for the export.
"""

from __future__ import annotations

import codecs
import gzip
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from b12kg.codes import Codes, load_codes
from b12kg.errors import InvalidRecord, Problem, UsageError
from b12kg.guideline import JURISDICTION, Guideline
from b12kg.record import Measurement, Record, facts, within
from b12kg.records.bundle import Input, read_input
from b12kg.records.fhir import read_patients
from b12kg.records.json import read_document
from b12kg.records.resource import Reader

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation

SUFFIXES = (".ndjson", ".ndjson.gz")
_BATCH = 1000  # patients in memory with their lines


@dataclass(frozen=True, slots=True)
class Export:
    """The patients of an export, as relations of one DuckDB connection.

    Args:
        features: ``patient`` (such as ``Patient/7``) and the columns of :func:`columns`, NULL where unknown.
        outside: ``patient`` and ``of``, a circumstance on which the guideline is silent.
        rejects: ``patient``, ``place`` (file and line), ``message``, ``found`` and ``accepted`` of every
            problem of a patient who is not in ``features``.
        counts: how many lines and patients there are, and how many of them came to what.
    """

    features: DuckDBPyRelation
    outside: DuckDBPyRelation
    rejects: DuckDBPyRelation
    counts: Mapping[str, int]


def columns(guideline: Guideline) -> dict[str, str]:
    """The features of a patient with their types: concepts, quantities in their units, and the jurisdiction.

    >>> import b12kg
    >>> columns(b12kg.load().content)["Hematocrit"]
    'DOUBLE'
    """
    concepts = dict.fromkeys(sorted(guideline.concepts), "BOOLEAN")
    return concepts | dict.fromkeys(sorted(guideline.quantities), "DOUBLE") | {JURISDICTION: "VARCHAR"}


def read_bulk(
    folder: str | Path, guideline: Guideline, as_of: date, connection: DuckDBPyConnection | None = None
) -> Export:
    """The patients of a bulk export, one row each: the facts that the reader of single patients finds.

    Every patient whom a Patient resource or a resource about a patient names is in exactly one of
    ``features`` and ``rejects``. A strict bound (below 10) stands as the nearest number within it.

    Args:
        folder: holds the export's files of NDJSON, compressed by gzip or not; R4.
        as_of: the date of the records; what is later is not used.
        connection: where the work is done, in temporary tables; by default a new one in memory.

    Raises:
        UsageError: there is no such file, it cannot be read, or an extra is not installed.
        InvalidRecord: a line is no FHIR resource, so that it may be about anybody; it names file and line.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise UsageError("reading a bulk export takes an extra: install b12kg[cohort,fhir]") from error

    files = sorted(str(path) for path in Path(folder).glob("*") if path.name.endswith(SUFFIXES))
    if not files:
        raise UsageError(f"{folder}: no file of a bulk export; accepted: {' and '.join(SUFFIXES)}")
    for file in files:
        with gzip.open(file) if file.endswith(".gz") else Path(file).open("rb") as opened:
            if opened.read(3) == codecs.BOM_UTF8:
                raise UsageError(f"{file}: begins with a byte order mark; accepted: UTF-8 without one")
    codes = load_codes()
    if connection is None:
        connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    try:
        _look(connection, files, guideline, codes)
    except duckdb.Error as error:
        _refuse_lines(files, codes)
        # Its words can hold what is in a line.
        raise UsageError(f"{folder}: no export that DuckDB reads ({type(error).__name__})") from error
    if connection.execute("SELECT 1 FROM abouts WHERE type IS NULL LIMIT 1").fetchall():
        _refuse_lines(files, codes)
    servers = connection.execute("SELECT DISTINCT server FROM abouts WHERE server <> '' ORDER BY server").fetchall()
    if len(servers) > 1:
        found = ", ".join(server for (server,) in servers[:3])
        raise InvalidRecord([Problem(str(folder), "it refers to several servers", found, "an export of one server")])
    _take_forms(connection, _Forms(guideline, codes, as_of))
    connection.execute(_SETTLED)
    _read_singly(connection, files, guideline, as_of)
    return _result(connection, guideline)


# ---- lines ---------------------------------------------------------------------------------------

# Three kinds of texts are hidden in a form: names, behind one that stands for all, and days and the numbers of values,
# behind characters that no text of JSON has. A day is one that every year has; a time has a zone, and no more digits
# than a moment keeps; a number has so few digits that a double is written as it.
# Any other text stays in the form, so that its line is read for itself.
_MACROS = r"""
    CREATE OR REPLACE TEMP MACRO dated() AS
        '"((?:19|20)[0-9]{2}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])'
        || '|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31))'
        || '(?:(T)(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:[.][0-9]{1,6})?'
        || '(?:Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]))?"';
    CREATE OR REPLACE TEMP MACRO valued() AS '("value"\s*:\s*)((?:0|[1-9][0-9]{0,8})(?:[.][0-9]{1,4})?)(\s*[,}])';
    CREATE OR REPLACE TEMP MACRO form_with_numbers(line) AS regexp_replace(
        regexp_replace(line, '("(?:id|reference|value)"\s*:\s*"'
            || '(?:(?:https?://[^"\\\s]*/)?[A-Z][A-Za-z]{1,63}/|urn:uuid:)?)[A-Za-z0-9.-]{1,64}"',
            '\100000000-0000-0000-0000-000000000000"', 'g'),
        dated(), '"' || chr(1) || '\2"', 'g');
    CREATE OR REPLACE TEMP MACRO form_of(line) AS
        regexp_replace(form_with_numbers(line), valued(), '\1' || chr(2) || '\3', 'g');
    CREATE OR REPLACE TEMP MACRO about(type, id, subject, patient) AS CASE
        WHEN type = 'Patient' THEN 'Patient/' || id WHEN type <> 'Medication' THEN coalesce(subject, patient) END;
    CREATE OR REPLACE TEMP MACRO patient_of(type, about) AS CASE
        WHEN type = 'Patient'
        THEN CASE WHEN regexp_full_match(about, 'Patient/[A-Za-z0-9.-]{1,64}') THEN about ELSE 'Patient' END
        WHEN regexp_full_match(about, 'Patient/[A-Za-z0-9.-]{1,64}|#.*|urn:(?:uuid|oid):[0-9A-Za-z.-]{1,64}') THEN about
        ELSE nullif(regexp_extract(about,
            '^(?:https?://[^?#]+/)?(Patient/[A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?$', 1), '') END;
"""

# What a line is about, by columns, which is faster than by its text; who that is, once for all lines that say the same.
_LINES = r"""
    CREATE OR REPLACE TEMP TABLE lines AS
    SELECT resourceType AS type, hash(resourceType, id) AS name,
        about(resourceType, id, json_extract_string(subject, '$.reference'),
            json_extract_string(patient, '$.reference')) AS about,
        birthDate::VARCHAR AS born, CASE WHEN resourceType = 'Patient' THEN filename END AS file
    FROM read_json($files, format = 'newline_delimited', filename = true, columns = {
        resourceType: 'VARCHAR', id: 'VARCHAR', subject: 'JSON', patient: 'JSON', birthDate: 'JSON'})
"""
_ABOUTS = r"""
    CREATE OR REPLACE TEMP TABLE abouts AS
    WITH said AS (
        SELECT coalesce(list_contains($types, type), false) AS is_read, type, CASE WHEN is_read THEN about END AS about,
            count(*) AS lines
        FROM lines GROUP BY ALL
    )
    SELECT is_read, CASE WHEN is_read OR regexp_full_match(type, '[A-Z][A-Za-z]{1,63}') THEN type END AS type,
        patient_of(type, about) AS patient, lines,
        CASE WHEN type <> 'Patient' AND starts_with(about, 'http')
            THEN regexp_extract(about, '^(.*)/[A-Z][A-Za-z]{1,63}/[^/]+(?:/_history/[^/]+)?$', 1) END AS server
    FROM said
"""
_TEXTS = r"""
    CREATE OR REPLACE TEMP TABLE texts AS
    WITH found AS (
        SELECT json::VARCHAR AS text, filename AS file, regexp_matches(json::VARCHAR, $mentions) AS has_code
        FROM read_ndjson_objects($files, filename = true)
    ), parsed AS (
        SELECT text, file, has_code OR contains(text, '\u') AS mentions, json_extract_string(
            text, ['$.resourceType', '$.id', '$.subject.reference', '$.patient.reference']) AS said
        FROM found
        WHERE has_code OR contains(text, '\u') OR ($with_medicines AND contains(text, '"medicationReference"'))
    )
    SELECT text, file, mentions, coalesce(list_contains($types, said[1]), false) AS is_read, said[1] AS type,
        hash(said[1], said[2]) AS name,
        patient_of(said[1], about(said[1], said[2], said[3], said[4])) AS patient, form_of(text) AS form,
        regexp_extract_all(text, dated(), 0) AS moments, regexp_extract_all(text, valued(), 2) AS numbers
    FROM parsed
"""
# Resources that contain whom they are about, which are rare.
_WITHIN = r"""
    SELECT json::VARCHAR FROM read_ndjson_objects($files)
    WHERE list_contains($types, json_extract_string(json, '$.resourceType')) AND starts_with(coalesce(
        json_extract_string(json, '$.subject.reference'), json_extract_string(json, '$.patient.reference')), '#')
"""


def _look(connection: DuckDBPyConnection, files: list[str], guideline: Guideline, codes: Codes) -> None:
    """The tables of all lines, and of those that can state a fact with their texts."""
    connection.execute(_MACROS)
    types = _types(codes)
    connection.execute(_LINES, {"files": files})
    connection.execute(_ABOUTS, {"types": types})
    parameters = {"mentions": _mentions(guideline, codes), "with_medicines": _has_medicines(connection)}
    connection.execute(_TEXTS, {"files": files, "types": types, **parameters})
    if connection.execute("SELECT 1 FROM abouts WHERE starts_with(patient, '#') LIMIT 1").fetchall():
        for (text,) in connection.execute(_WITHIN, {"files": files, "types": types}).fetchall():
            patients = [*read_input(text.encode(), frozenset(codes.policies.supplies)).patients]
            who = patients[0] if patients else None
            connection.execute("UPDATE texts SET patient = ? WHERE text = ?", [who, text])
            connection.execute("INSERT INTO abouts VALUES (true, 'Contained', ?, 1, NULL)", [who])
        connection.execute("DELETE FROM abouts WHERE starts_with(patient, '#')")


def _has_medicines(connection: DuckDBPyConnection) -> bool:
    return bool(connection.execute("SELECT 1 FROM abouts WHERE type = 'Medication' LIMIT 1").fetchall())


def _types(codes: Codes) -> list[str]:
    """The types of resource that are read."""
    return sorted({*codes.policies.supplies, "Patient", "Medication"})


def _mentions(guideline: Guideline, codes: Codes) -> str:
    """A pattern that every line matches which has a code of the mapping, or a name of the guideline as its code."""
    names = {iri: name for name, iri in guideline.iris_of_names().items()}
    mapped = {
        code
        for (_, code), matches in codes.matches.items()
        for match in matches
        if match.iri in names or codes.policies.events.get(match.subject) in guideline.concepts
    }
    # The code of a name of ours is its end, from any slash on. JSON can escape a slash as such, and any character
    # by its number, which is looked for as well.
    own = "|".join(re.escape(iri.rpartition("/")[2]) for iri in sorted(names))
    plain = "|".join(re.escape(code).replace("/", r"\\?/") for code in sorted(mapped))
    return rf'"code"\s*:\s*"(?:{plain}|(?:[^"]*/)?(?:{own}))"'


def _refuse_lines(files: Iterable[str], codes: Codes) -> None:
    """Raise for the first line that is no resource, if there is one."""
    for file in files:
        for number, line in _numbered(file):
            try:
                read_input(line, frozenset(codes.policies.supplies))
            except InvalidRecord as error:
                place = f"{Path(file).name} line {number}"
                raise InvalidRecord([replace(p, path=f"{place}: {p.path}") for p in error.problems]) from error


def _numbered(file: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not empty, with their numbers."""
    with gzip.open(file) if file.endswith(".gz") else Path(file).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, line.strip()


# ---- forms ---------------------------------------------------------------------------------------

# The texts stay where they are: ``line`` and ``medicine_line`` are their numbers.
_STATING = r"""
    CREATE OR REPLACE TEMP TABLE stating AS
    WITH medicines AS (
        SELECT name AS medicine, rowid AS medicine_line, form AS medicine_form
        FROM texts WHERE type = 'Medication' AND mentions
    ), asked AS (
        SELECT patient, name, rowid AS line, mentions, form, moments, numbers, CASE WHEN $with_medicines THEN
            regexp_extract(json_extract_string(text, '$.medicationReference.reference'),
            '^(?:https?://[^?#]+/)?Medication/([A-Za-z0-9.-]{1,64})(?:/_history/[A-Za-z0-9.-]{1,64})?$', 1)
            END AS medicine_id,
            CASE WHEN medicine_id <> '' THEN hash('Medication', medicine_id) END AS medicine
        FROM texts WHERE is_read AND type <> 'Patient' AND patient IS NOT NULL
    )
    SELECT patient, name, line, medicine, medicine_line, form || coalesce(chr(10) || medicine_form, '') AS form,
        moments, numbers, list_transform(moments, lambda moment: moment[2:11] > $as_of) AS later
    FROM asked LEFT JOIN medicines USING (medicine)
    WHERE mentions OR medicine_line IS NOT NULL
    UNION ALL
    SELECT patient_of(type, about), name, NULL, NULL, NULL,
        '{"resourceType":"Patient","id":"00000000-0000-0000-0000-000000000000"' || CASE
            WHEN born IS NULL THEN ''
            WHEN regexp_full_match(born, dated()) AND length(born) = 12
            THEN ',"birthDate":' || coalesce(list_filter($born_by, lambda day: born <= day)[1], born)
            ELSE ',"birthDate":' || born END || '}', [], [], []
    FROM lines WHERE type = 'Patient'
"""
_FORMS = """
    CREATE OR REPLACE TEMP TABLE forms AS
    SELECT row_number() OVER () AS number, form, later
    FROM (SELECT DISTINCT form, later FROM stating);
    CREATE OR REPLACE TEMP TABLE effects (form BIGINT, kind VARCHAR, of VARCHAR, is_so BOOLEAN, value DOUBLE,
        same VARCHAR, place INTEGER, value_place INTEGER);
"""
# Forms of which the number matters in more than its size are taken again with the numbers of their lines.
_WITH_NUMBERS = """
    CREATE OR REPLACE TEMP TABLE numbered AS SELECT form, later FROM forms WHERE list_contains($numbers, number);
    DELETE FROM forms WHERE list_contains($numbers, number);
    UPDATE stating SET form = with_numbers FROM (
        SELECT stating.rowid AS changed, form_with_numbers(own.text)
            || coalesce(chr(10) || form_with_numbers(medicines.text), '') AS with_numbers
        FROM stating JOIN numbered USING (form, later) JOIN texts AS own ON own.rowid = line
            LEFT JOIN texts AS medicines ON medicines.rowid = medicine_line
    ) WHERE stating.rowid = changed;
    INSERT INTO forms
    SELECT $last + row_number() OVER (), form, later
    FROM (SELECT DISTINCT form, later FROM stating ANTI JOIN forms USING (form, later));
"""
_FACTS = """
    CREATE OR REPLACE TEMP TABLE facts AS
    SELECT patient, kind, of, is_so, coalesce(value, numbers[value_place]::DOUBLE) AS value,
        coalesce(same, numbers[value_place]::DOUBLE::VARCHAR) AS same, trim(moments[place], '"') AS moment
    FROM stating JOIN forms USING (form, later) JOIN effects ON effects.form = number
"""
_HIDDEN = re.compile('"\x01(T?)"|\x02')


def _take_forms(connection: DuckDBPyConnection, forms: _Forms) -> None:
    """The tables of lines that can state a fact with their forms, of what forms come to, and of facts."""
    values = {
        "as_of": forms.as_of.isoformat(),
        "born_by": _born_by(forms.codes, forms.as_of),
        "with_medicines": _has_medicines(connection),
    }
    connection.execute(_STATING, values)
    connection.execute(_FORMS)
    effects: list[_Effect] = []
    last = 0
    for number, form, later in connection.execute("SELECT number, form, later FROM forms").fetchall():
        effects += forms.effects(number, form, later)
        last = max(last, number)
    if numbers := [effect.form for effect in effects if effect.kind == "numbered"]:
        for statement in _WITH_NUMBERS.split(";\n")[:-1]:
            values = {name: value for name, value in (("numbers", numbers), ("last", last)) if f"${name}" in statement}
            connection.execute(statement, values)
        effects = [effect for effect in effects if effect.kind != "numbered"]
        again = connection.execute("SELECT number, form, later FROM forms WHERE number > ?", [last]).fetchall()
        for number, form, later in again:
            effects += forms.effects(number, form, later)
    _insert(connection, "effects", [astuple(effect) for effect in effects])
    connection.execute(_FACTS)


def _born_by(codes: Codes, as_of: date) -> list[str]:
    """Days between which it does not matter when somebody was born, in JSON: the last on which one has each age.

    A 29th of February is no day that is hidden in a form, so that the day before stands for it.
    """
    day = min(as_of.day, 28) if as_of.month == 2 else as_of.day
    years = sorted({as_of.year - age for age in (0, *codes.policies.ages.values()) if age < as_of.year})
    return [f'"{year:04}-{as_of.month:02}-{day:02}"' for year in years]


def _insert(connection: DuckDBPyConnection, table: str, rows: Sequence[tuple[object, ...]]) -> None:
    if rows:
        types = [type_ for _, type_, *_ in connection.execute(f"DESCRIBE {table}").fetchall()]
        parts = ", ".join(f"unnest(?::{type_}[])" for type_ in types)
        lists = [list(column) for column in zip(*rows, strict=True)]
        connection.execute(f"INSERT INTO {table} SELECT {parts}", lists)


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a form comes to: a row of the table of effects.

    Args:
        kind: ``states`` a concept, ``opens`` one again, ``measures`` a quantity, is a circumstance ``outside``,
            or ``odd``: the form is for the reader of single patients; or ``numbered``: it is so for each number.
        is_so: whether the concept is present.
        value: the quantity's number in its unit; None where a bound leaves a threshold open.
        same: the exact value, so that two can be compared.
        place: of the date that counts, among the dates of the line from 1 on.
        value_place: of the number that is the value in the quantity's unit, among the numbers that are hidden.
    """

    form: int
    kind: str
    of: str = ""
    is_so: bool | None = None
    value: float | None = None
    same: str | None = None
    place: int | None = None
    value_place: int | None = None


class _Forms:
    """Reads forms as the reader of single patients does."""

    def __init__(self, guideline: Guideline, codes: Codes, as_of: date) -> None:
        self.guideline = guideline
        self.codes = codes
        self.as_of = as_of

    def effects(self, number: int, form: str, later: Sequence[bool]) -> list[_Effect]:
        """What the facts of a form come to.

        Args:
            later: for each of its dates whether it is after the date of the record.
        """
        days: list[date] = []
        numbers: list[int] = []

        def show(hidden: re.Match[str]) -> str:
            if hidden[0] == "\x02":
                numbers.append(len(numbers) + 1)  # each as many as its place, which tells it apart
                return str(numbers[-1])
            place = len(days)
            is_later = place < len(later) and later[place]
            days.append(self.as_of + timedelta((place + 1) * (1 if is_later else -1)))
            return f'"{days[place]}{"T00:00:00Z" if hidden[1] else ""}"'

        odd = [_Effect(number, "odd")]
        try:
            found = read_input(_HIDDEN.sub(show, form).encode(), frozenset(self.codes.policies.supplies))
            if not _stands_for_itself(found, form):
                return odd
            reader = Reader(self.guideline, self.codes, found, next(iter(found.patients)), self.as_of)
            reader.look(len(form))
            if reader.read():
                return odd
        except (InvalidRecord, RecursionError):
            return odd  # what is wrong is said when the line itself is read
        effects = []
        for concept in (self.codes.policies.events[name] for name, *_ in reader.events):
            effects += [_Effect(number, "opens", of) for of in (concept, *self.guideline.kinds_of(concept))]
        for fact in reader.facts:
            day = fact.when.day if fact.when is not None else None
            if fact.when is not None and day not in days:
                return odd
            document = {"id": "form", "asOf": self.as_of.isoformat(), fact.key: [fact.entry]}
            record, problems = read_document(document, self.guideline)
            if problems:
                return odd
            place = None if day is None else days.index(day) + 1
            for effect in self.effects_of(record):
                if numbers and effect.kind == "measures":
                    if effect.value not in numbers or not _is_as_written(record):
                        return [_Effect(number, "numbered")]
                    effect = replace(effect, value=None, same=None, value_place=numbers.index(int(effect.value)) + 1)
                effects.append(replace(effect, form=number, place=place))
        return effects

    def effects_of(self, record: Record) -> list[_Effect]:
        """What the record of one fact comes to, with what follows from it by the kind-of relations."""
        effects = [_Effect(0, "outside", circumstance.of) for circumstance in record.outside]
        for measured in record.measurements:
            number = float(measured.canonical)
            shown = number if Decimal(repr(number)) == measured.canonical else measured.canonical.normalize()
            same = f"{measured.comparator or ''}{shown}"
            effects.append(_Effect(0, "measures", measured.of, None, number_of(measured, self.guideline), same))
        effects += [
            _Effect(0, "states", of, is_so) for of, (is_so, _) in facts(record, self.guideline).concepts.items()
        ]
        return effects


def _is_as_written(record: Record) -> bool:
    """Whether each value of a record is a number as it is written in its line, in the quantity's own unit."""
    return all(m.comparator is None and m.value == m.canonical for m in record.measurements)


def _stands_for_itself(found: Input, form: str) -> bool:
    """Whether a form is about one patient, and refers to nothing by a name that is hidden in it."""
    if len(found.patients) != 1 or sum(map(len, found.patients.values())) != 1:
        return False
    ((resource,),) = found.patients.values()
    with_medicine = "\n" in form
    medicine = found.find(resource, resource.body.get("medicationReference"))
    return "contained" not in resource.body and bool(medicine) == with_medicine


def number_of(measurement: Measurement, guideline: Guideline) -> float | None:
    """The double that stands for a measurement: on the same side of every threshold as the exact value.

    Returns:
        A number in the quantity's unit, for a strict bound the nearest within it; None where a bound leaves
        open on which side of a threshold the value lies.

    >>> import b12kg
    >>> number_of(Measurement("Hematocrit", Decimal(35), "%", Decimal(35), "", "<"), b12kg.load().content)
    34.99999999999999
    """
    thresholds = guideline.thresholds_of(measurement.of)
    wanted = [within(measurement.range, restrictions) for restrictions in thresholds]
    if None in wanted:
        return None
    nearest = float(measurement.canonical)
    below, above = math.nextafter(nearest, -math.inf), math.nextafter(nearest, math.inf)
    tried = {"<": (below,), ">": (above,)}.get(measurement.comparator or "", (nearest, below, above))
    for number in tried:
        shown = Decimal(repr(number))
        if [all(bound.holds(shown) for bound in restrictions) for restrictions in thresholds] == wanted:
            return number
    raise AssertionError(f"no double of {measurement.of} lies where its value does")


# ---- patients ------------------------------------------------------------------------------------

# Moments are in order with moments, and days with days; which of a day and a moment on it is later is open.
_SETTLED = """
    CREATE OR REPLACE TEMP TABLE stated AS
    SELECT patient, of, bool_or(is_so) AS is_so, bool_and(is_so) <> bool_or(is_so) AS is_open
    FROM facts WHERE kind = 'states' GROUP BY patient, of;

    CREATE OR REPLACE TEMP TABLE measured AS
    WITH dated AS (
        SELECT patient, of, value, same, contains(moment, 'T') AS is_timed, moment::TIMESTAMPTZ AS instant
        FROM facts WHERE kind = 'measures'
    ), ranked AS (
        SELECT *, instant = max(instant) OVER (PARTITION BY patient, of) AS is_newest FROM dated
    )
    SELECT patient, of,
        CASE WHEN min(same) = max(same) THEN any_value(value)
            WHEN min(same) FILTER (is_newest) = max(same) FILTER (is_newest)
            THEN any_value(value) FILTER (is_newest) END AS value,
        min(same) <> max(same)
            AND (bool_or(instant IS NULL) OR bool_or(is_timed) <> bool_and(is_timed)) AS is_open
    FROM ranked GROUP BY patient, of;

    CREATE OR REPLACE TEMP TABLE outside AS SELECT DISTINCT patient, of FROM facts WHERE kind = 'outside';

    CREATE OR REPLACE TEMP TABLE repeated AS
    SELECT name FROM lines
    WHERE name IN (SELECT name FROM stating UNION SELECT medicine FROM stating)
    GROUP BY name HAVING count(*) > 1;

    CREATE OR REPLACE TEMP TABLE singly AS
    SELECT patient FROM stating
    WHERE name IN (SELECT name FROM repeated) OR medicine IN (SELECT name FROM repeated)
    UNION SELECT patient FROM facts WHERE kind = 'odd'
    UNION SELECT patient FROM stated WHERE is_open
    UNION SELECT patient FROM measured WHERE is_open
    UNION SELECT patient FROM stated JOIN facts USING (patient, of) WHERE kind = 'opens';

    DELETE FROM stated WHERE patient IN (SELECT patient FROM singly);
    DELETE FROM measured WHERE patient IN (SELECT patient FROM singly);
    DELETE FROM outside WHERE patient IN (SELECT patient FROM singly);

    CREATE OR REPLACE TEMP TABLE rejects (
        patient VARCHAR, place VARCHAR, message VARCHAR, found VARCHAR, accepted VARCHAR);
"""
# Patient resources were not kept as text, nor was what bears a name that stands there twice.
_AGAIN = """
    CREATE OR REPLACE TEMP TABLE again AS
    WITH found AS (
        SELECT json::VARCHAR AS text, filename AS file,
            json_extract_string(json, ['$.resourceType', '$.id']) AS said
        FROM read_ndjson_objects($files, filename = true)
    ), named AS (
        SELECT text, file, said[1] AS type, hash(said[1], said[2]) AS name,
            patient_of(said[1], about(said[1], said[2], NULL, NULL)) AS patient
        FROM found
    )
    SELECT * FROM named
    WHERE (type = 'Patient' AND patient IN (SELECT patient FROM singly)) OR name IN (SELECT name FROM repeated)
"""
_HELD = """
    WITH own AS (SELECT * FROM stating JOIN singly USING (patient)), held AS (
        SELECT own.patient, file, text FROM own JOIN texts ON texts.rowid = line
        UNION SELECT own.patient, file, text FROM own JOIN texts ON texts.rowid = medicine_line
        UNION SELECT patient, file, text FROM again JOIN singly USING (patient) WHERE type = 'Patient'
        UNION SELECT own.patient, again.file, again.text FROM own JOIN again USING (name)
        UNION SELECT own.patient, again.file, again.text FROM own JOIN again ON again.name = own.medicine
    )
    SELECT patient, list(file ORDER BY file, text), list(text ORDER BY file, text)
    FROM held GROUP BY patient ORDER BY patient
"""


@dataclass(frozen=True, slots=True)
class _Refused:
    """A patient whom the reader refuses, with the lines that it was given and their files."""

    patient: str
    problems: tuple[Problem, ...]
    files: Sequence[str]
    lines: Sequence[str]


def _read_singly(connection: DuckDBPyConnection, files: list[str], guideline: Guideline, as_of: date) -> None:
    """Read by the reader of single patients whoever is for it."""
    if not connection.execute("SELECT 1 FROM singly LIMIT 1").fetchall():
        return
    if not connection.execute("SELECT 1 FROM repeated LIMIT 1").fetchall():
        of_patients = connection.execute("SELECT DISTINCT file FROM lines WHERE type = 'Patient'").fetchall()
        files = sorted(file for (file,) in of_patients) or files[:1]
    connection.execute(_AGAIN, {"files": files})
    stated: list[tuple[object, ...]] = []
    measured: list[tuple[object, ...]] = []
    outside: list[tuple[object, ...]] = []
    refused: list[_Refused] = []
    held = connection.execute(_HELD)
    while batch := held.fetchmany(_BATCH):
        for patient, places, lines in batch:
            try:
                found = read_patients("\n".join(lines).encode(), guideline, as_of)[patient]
            except InvalidRecord as error:
                found = error
            if isinstance(found, InvalidRecord):
                refused.append(_Refused(patient, found.problems, places, lines))
                continue
            record, _ = found
            known = facts(record, guideline)
            stated += [(patient, of, is_so, False) for of, (is_so, _) in known.concepts.items()]
            measured += [(patient, of, number_of(m, guideline), False) for of, m in known.measurements.items()]
            outside += [(patient, circumstance.of) for circumstance in record.outside]
    _insert(connection, "stated", stated)
    _insert(connection, "measured", measured)
    _insert(connection, "outside", outside)
    _insert(connection, "rejects", [*_reasons(refused)])


def _reasons(refused: Iterable[_Refused]) -> Iterator[tuple[object, ...]]:
    """The rows of the table of rejects: places are those of the export, not of the lines that the reader was given."""
    numbers: dict[str, dict[bytes, int]] = {}
    for one in refused:
        for file, line in zip(one.files, one.lines, strict=True):
            numbers.setdefault(file, {})[line.strip().encode()] = 0
    for file, wanted in numbers.items():
        for number, text in _numbered(file):
            if wanted.get(text) == 0:
                wanted[text] = number
    for one in refused:
        pairs = zip(one.files, one.lines, strict=True)
        places = [f"{Path(file).name} line {numbers[file][line.strip().encode()]}" for file, line in pairs]
        for problem in one.problems:
            path = _placed(problem.path, places) if len(places) > 1 else f"{places[0]}: {problem.path}"
            yield one.patient, path, problem.message, _placed(problem.found, places), problem.accepted


def _placed(text: str, places: Sequence[str]) -> str:
    return re.sub(r"\bline (\d+)\b", lambda number: places[int(number[1]) - 1], text, count=1)


# ---- the result ----------------------------------------------------------------------------------

_ROWS = """
    CREATE OR REPLACE TEMP TABLE features AS
    WITH known AS (
        SELECT patient, of, is_so, NULL::DOUBLE AS value FROM stated
        UNION ALL SELECT patient, of, NULL, value FROM measured
        UNION ALL SELECT DISTINCT patient, NULL, NULL, NULL FROM abouts WHERE patient IS NOT NULL
    )
    SELECT patient, {} FROM known ANTI JOIN rejects USING (patient) GROUP BY patient
"""
_PARTS = {
    "BOOLEAN": "bool_or(is_so) FILTER (of = '{of}') AS \"{of}\"",
    "DOUBLE": "any_value(value) FILTER (of = '{of}') AS \"{of}\"",
    "VARCHAR": 'NULL::VARCHAR AS "{of}"',  # no resource that is read states it
}
_COUNTS = """
    SELECT (SELECT count(*) FROM lines),
        (SELECT coalesce(sum(lines) FILTER (NOT is_read), 0)::BIGINT FROM abouts),
        (SELECT coalesce(sum(lines) FILTER (is_read AND type <> 'Medication' AND patient IS NULL), 0)::BIGINT
            FROM abouts),
        (SELECT count(*) FROM stating WHERE line IS NOT NULL), (SELECT count(*) FROM forms),
        (SELECT count(*) FROM features) + (SELECT count(DISTINCT patient) FROM rejects),
        (SELECT count(*) FROM singly), (SELECT count(DISTINCT patient) FROM rejects)
"""
COUNTS = (
    "lines",
    "linesOfOtherTypes",
    "linesAboutNobody",
    "linesThatMayStateAFact",
    "forms",
    "patients",
    "patientsReadSingly",
    "patientsRejected",
)


def _result(connection: DuckDBPyConnection, guideline: Guideline) -> Export:
    parts = [_PARTS[type_].format(of=of) for of, type_ in columns(guideline).items()]
    connection.execute(_ROWS.format(", ".join(parts)))
    (counts,) = connection.execute(_COUNTS).fetchall()
    return Export(
        features=connection.table("features"),
        outside=connection.table("outside"),
        rejects=connection.table("rejects"),
        counts=dict(zip(COUNTS, counts, strict=True)),
    )
