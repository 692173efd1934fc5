"""The reasoner against the truth by enumeration, its steadiness, and the guideline it reasons over."""

from __future__ import annotations

import itertools
import random
from datetime import date
from decimal import Decimal

import pytest

from b12kg.classify import JAVA_VARIABLE, Reasoner, reasoner
from b12kg.errors import InvalidRecord, ReasonerError
from b12kg.expression import (
    Class,
    DataHasValue,
    DataSomeValuesFrom,
    FacetRestriction,
    Leaf,
    ObjectComplementOf,
    ObjectIntersectionOf,
    ObjectSomeValuesFrom,
    Truth,
    ground,
)
from b12kg.guideline import Guideline
from b12kg.iris import B12
from b12kg.recommend import ExecutableGuideline, recommend
from b12kg.record import Measurement, Record, Statement, patient, within

VALUES = {
    "DistalIleumResected": ("0", "20", "20.1", "30"),
    "Homocysteine": ("9.9", "10", "49"),
    "Hematocrit": ("34.9", "35", "42"),
}


def random_record(guideline: Guideline, choose: random.Random) -> Record:
    """A record without contradiction; each fact is present, absent or unknown by chance."""
    present: set[str] = set()
    absent: set[str] = set()
    for concept in choose.sample(sorted(guideline.concepts), len(guideline.concepts)):
        state = choose.choice(["present", "absent", "unknown"])
        if state == "present" and absent.isdisjoint((concept, *guideline.parents_of(concept))):
            present.add(concept)
        if state == "absent" and present.isdisjoint((concept, *guideline.kinds_of(concept))):
            absent.add(concept)
    statements = [Statement(concept, True, f"present[{i}]") for i, concept in enumerate(sorted(present))]
    statements += [Statement(concept, False, f"absent[{i}]") for i, concept in enumerate(sorted(absent))]
    measurements = [
        Measurement(of, (value := Decimal(choose.choice(values))), guideline.quantities[of].unit, value, of)
        for of, values in VALUES.items()
        if choose.random() < 0.6
    ]
    jurisdiction = choose.choice(["US", "GB", None])
    return Record("urn:test", date(2026, 1, 15), jurisdiction, tuple(statements), tuple(measurements))


def truth_by_enumeration(guideline: Guideline, record: Record, phenotype: str) -> Truth:
    """Try every way to make the phenotype's leaves true or false that the record allows."""
    leaves = guideline.leaves_of([phenotype])
    said = {s.of: s.present for s in record.statements}
    measured = {m.of: m.range for m in record.measurements}

    def allowed(leaf: Leaf, holds: bool) -> bool:
        match leaf:
            case ObjectSomeValuesFrom(concept):
                ups, downs = guideline.parents_of(concept), guideline.kinds_of(concept)
                if holds:
                    return all(said.get(other, True) for other in (concept, *ups))
                return not any(said.get(other, False) for other in (concept, *downs))
            case DataSomeValuesFrom(quantity, restrictions):
                return quantity not in measured or within(measured[quantity], restrictions) is holds
            case DataHasValue(_, value):
                return record.jurisdiction is None or (record.jurisdiction == value) is holds

    def coherent(assigned: dict[Leaf, bool]) -> bool:
        state = {leaf.concept: holds for leaf, holds in assigned.items() if isinstance(leaf, ObjectSomeValuesFrom)}
        return not any(
            holds and state.get(parent) is False
            for name, holds in state.items()
            for parent in guideline.parents_of(name)
        )

    found = set()
    for combination in itertools.product((True, False), repeat=len(leaves)):
        assigned = dict(zip(leaves, combination, strict=True))
        if coherent(assigned) and all(allowed(leaf, holds) for leaf, holds in assigned.items()):
            found.add(ground(guideline.phenotypes[phenotype].expression, assigned)[0])
    assert found
    assert "unknown" not in found
    return "unknown" if len(found) == 2 else found.pop()


def test_two_hundred_random_records_are_classified_as_enumeration_says(guideline: Guideline) -> None:
    choose = random.Random(20260115)
    hermit = reasoner(guideline)
    truths: dict[str, int] = {}
    for _ in range(200):
        record = random_record(guideline, choose)
        who = patient(record, guideline)
        assert hermit.possible(who)
        for phenotype in guideline.phenotypes:
            expected = truth_by_enumeration(guideline, record, phenotype)
            assert hermit.truth(who, phenotype) == expected, (record, phenotype)
            truths[expected] = truths.get(expected, 0) + 1
    assert sum(truths.values()) == 200 * len(guideline.phenotypes)
    assert min(truths.values()) > 200, truths


def test_a_second_reasoner_says_the_same(guideline: Guideline) -> None:
    choose = random.Random(7)
    records = [random_record(guideline, choose) for _ in range(20)]

    def classified() -> list[Truth]:
        hermit = Reasoner(guideline)
        return [hermit.truth(patient(r, guideline), name) for r in records for name in guideline.phenotypes]

    assert classified() == classified()


@pytest.mark.parametrize(
    ("quantity", "value", "phenotype", "expected"),
    [
        ("DistalIleumResected", "20", "PatientWithLongDistalIlealResection", "excluded"),
        ("DistalIleumResected", "20.1", "PatientWithLongDistalIlealResection", "entailed"),
        ("Homocysteine", "9.9", "PatientWithHomocysteineNotBelowTarget", "excluded"),
        ("Homocysteine", "10", "PatientWithHomocysteineNotBelowTarget", "entailed"),
        ("Homocysteine", "10.0", "PatientWithHomocysteineNotBelowTarget", "entailed"),
    ],
)
def test_boundaries(guideline: Guideline, quantity: str, value: str, phenotype: str, expected: str) -> None:
    measurement = Measurement(quantity, Decimal(value), "", Decimal(value), "m")
    who = patient(Record("r", date(2026, 1, 15), measurements=(measurement,)), guideline)
    assert reasoner(guideline).truth(who, phenotype) == expected


@pytest.mark.parametrize("comparator", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("value", ["19.9", "20", "20.1"])
def test_bounds_agree_with_arithmetic(guideline: Guideline, comparator: str, value: str) -> None:
    measurement = Measurement("DistalIleumResected", Decimal(value), "cm", Decimal(value), "m", comparator)  # type: ignore[arg-type]
    who = patient(Record("r", date(2026, 1, 15), measurements=(measurement,)), guideline)
    expected = within(measurement.range, (FacetRestriction("minExclusive", Decimal(20)),))
    found = reasoner(guideline).truth(who, "PatientWithLongDistalIlealResection")
    assert found == {True: "entailed", False: "excluded", None: "unknown"}[expected]


def test_hermit_still_has_the_fault_that_exact_values_avoid(guideline: Guideline) -> None:
    """If this fails, HermiT was mended, and record.patient may write a value as a range."""
    bound = Decimal(20)
    exactly = DataSomeValuesFrom(
        "DistalIleumResected", (FacetRestriction("minInclusive", bound), FacetRestriction("maxInclusive", bound))
    )
    who = ObjectIntersectionOf((Class(B12 + "Patient"), exactly))
    assert reasoner(guideline).truth(who, "PatientWithLongDistalIlealResection") == "unknown"


def test_what_only_the_reasoner_finds_impossible_is_refused(executable: ExecutableGuideline) -> None:
    guideline = executable.content
    record = Record(
        "r",
        date(2026, 1, 15),
        statements=(
            Statement("PerniciousAnemia", True, "present[0]"),
            Statement("VitaminB12Deficiency", False, "absent[0]"),
        ),
    )
    assert not reasoner(guideline).possible(patient(record, guideline))
    with pytest.raises(InvalidRecord, match="no patient can be as it states"):
        recommend(executable.compiled, record, engine="reference")


def test_impossible_is_not_the_same_as_unknown(guideline: Guideline) -> None:
    some = ObjectSomeValuesFrom("BariatricSurgery")
    everyone = Class(B12 + "Patient")
    assert reasoner(guideline).possible(everyone)
    assert not reasoner(guideline).possible(ObjectIntersectionOf((everyone, some, ObjectComplementOf(some))))


def test_a_java_that_is_not_there_is_named(guideline: Guideline, tmp_path: object) -> None:
    import subprocess
    import sys

    script = "import b12kg; b12kg.load().recommend({'id': 'r', 'asOf': '2026-01-15'}, engine='reference')"
    done = subprocess.run(
        [sys.executable, "-c", script], env={JAVA_VARIABLE: str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert ReasonerError.__name__ in done.stderr
    assert f"no Java at '{tmp_path}'" in done.stderr


def test_threads_that_ask_at_once_share_one_reasoner() -> None:
    import subprocess
    import sys

    script = """
import threading, b12kg
guideline = b12kg.load()
found, failed = [], []
def ask():
    try:
        found.append(guideline.recommend({"id": "r", "asOf": "2026-01-15", "present": ["PerniciousAnemia"]}).to_dict())
    except BaseException as error:
        failed.append(error)
threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
assert len(found) == 8 and all(form == found[0] for form in found)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "unsendable" not in done.stderr
