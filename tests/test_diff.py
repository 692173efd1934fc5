"""What a new version changes: seeded changes, each with exactly the patients that running both versions finds."""

from __future__ import annotations

import itertools
import json
import operator
import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from rdflib import RDF, RDFS, Graph, URIRef

from b12kg import tabulate
from b12kg.cli.changes import lines
from b12kg.compiled import Compiled, compile_guideline, file_name, load_compiled
from b12kg.decide import decide
from b12kg.diff import Comparison, compare, read_cohort
from b12kg.diff import patients as refined
from b12kg.errors import InvalidGuideline, InvalidRecord, UsageError
from b12kg.guideline import Guideline
from b12kg.iris import B12
from b12kg.queries import read_query, run, store_of
from b12kg.recommend import ExecutableGuideline
from b12kg.resources import GUIDELINES, ONTOLOGY, QUERIES, folder_of, tree_of
from b12kg.turtle import load_guideline, read_guideline
from b12kg.validate import compiled
from b12kg.versions import resolve
from tests.conftest import SECOND
from tests.mutants.mutate import mutants
from tests.test_second_guideline import edit

NAME = "droracle-2025"
ANSWERS = ("recommended", "choice", "conflict")


@pytest.fixture(scope="module")
def old() -> Compiled:
    return load_compiled(NAME)


def edited(folder: Path, file: str, *replacements: tuple[str, str]) -> Compiled:
    """The guideline of a folder after a change of one of its files."""
    text = (folder / file).read_text(encoding="utf-8")
    for before, after in replacements:
        assert text.count(before) == 1, (before, text.count(before))
        text = text.replace(before, after)
    (folder / file).write_text(text, encoding="utf-8")
    return compile_guideline(folder)


# ---- the same by running both versions -----------------------------------------------------------


def answer(version: Compiled, record: Mapping[str, Any]) -> dict[str, Any] | None:
    try:
        return ExecutableGuideline(version).recommend(record).to_dict()
    except InvalidRecord:
        return None


def what_it_says(form: dict[str, Any], offers: list[str]) -> dict[str, Any]:
    """The parts of offers, without labels, passages and what is editorial."""
    parts: dict[str, Any] = json.loads(
        json.dumps({offer: form["offers"][offer] for offer in offers}),
        object_hook=lambda part: {
            k: v for k, v in part.items() if k not in ("label", "statedBy", "editorial", "passages")
        },
    )
    return parts


def kind_by_running(old: Compiled, new: Compiled, record: Mapping[str, Any], decision: str) -> str | None:
    """How the answers of two versions differ, read off their JSON."""
    before, after = answer(old, record), answer(new, record)
    if before is None or after is None:
        return "nobody" if before is after else "accepted" if before is None else "refused"
    was, now = before["decisions"].get(decision), after["decisions"].get(decision)
    if was is None or now is None:
        return "answered" if was is None else "changed"

    def alerts(form: dict[str, Any], guideline: Guideline) -> set[tuple[str, str]]:
        rules = {rule.name for rule in guideline.rules_of(decision)}
        return {(alert["rule"], alert["certainty"]) for alert in form["alerts"] if alert["rule"] in rules}

    warned, warns = alerts(before, old.guideline), alerts(after, new.guideline)
    if not warned <= warns:
        return "changed"
    keys = ("status", "sourceSilent", "recommended", "conflicting", "alternatives", "possibleAlternatives")
    same = all(was[key] == now[key] for key in keys) and warned == warns
    if was["status"] in ANSWERS:
        named = [o for key in ("recommended", "conflicting", "alternatives", "possibleAlternatives") for o in was[key]]
        return None if same and what_it_says(before, named) == what_it_says(after, named) else "changed"
    if was["status"] != now["status"] or warned != warns:
        return "answered"

    def rewritten(offers: list[str]) -> bool:
        both = [offer for offer in offers if offer in before["offers"] and offer in after["offers"]]
        return what_it_says(before, both) != what_it_says(after, both)

    if was["status"] == "undetermined":
        if rewritten([*was["alternatives"], *was["possibleAlternatives"]]):
            return "changed"
        if rewritten([offer for p in was["possible"] for offer in (*p["recommended"], *p["conflicting"])]):
            return "questions"
        return None if same and all(was[key] == now[key] for key in ("missing", "possible")) else "questions"
    return None if same else "changed"


# A jurisdiction that no guideline of the tests names.
ELSEWHERE = "GB"
HOLDS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def holds(known: Mapping[str, str], record: Mapping[str, Any]) -> bool:
    """Whether a record states all facts of a condition, read without the package."""
    values = {measurement["of"]: Decimal(str(measurement["value"])) for measurement in record["measurements"]}
    for feature, value in known.items():
        if value in ("present", "absent"):
            if feature not in record[value]:
                return False
        elif feature == "jurisdiction":
            if record[feature] != (ELSEWHERE if value == "elsewhere" else value):
                return False
        elif value != "any value":
            bounds = re.findall(r"([<>]=?) (\S+)", value)
            assert bounds, value
            if feature not in values or not all(HOLDS[sign](values[feature], Decimal(n)) for sign, n in bounds):
                return False
    return True


def everybody(old: Compiled, new: Compiled, decision: str) -> Iterator[tuple[bool, dict[str, Any]]]:
    """A record for every way to know or not know what either version asks, and whether it knows everything."""
    features, tied = set[str](), set[str]()
    for version in (old, new):
        guideline = version.guideline
        if decision in guideline.decisions:
            alerting = [rule.alert_when for rule in guideline.rules_of(decision) if rule.alert_when]
            features |= {*guideline.features_of(decision), *guideline.features_behind(alerting)}
    # And what only one version takes to say something about these.
    for concept in old.guideline.concepts.keys() & new.guideline.concepts.keys():
        was, now = (
            {
                *(("present", name) for name in g.parents_of(concept)),
                *(("absent", name) for name in g.kinds_of(concept)),
            }
            for g in (old.guideline, new.guideline)
        )
        if any(name in features for _, name in was ^ now):
            tied.add(concept)
    options: list[list[tuple[str, Any]]] = []
    for name in sorted(features | tied):
        options.append([("unknown", name)])
        if name == "jurisdiction":
            codes = {code for v in (old, new) for code in v.guideline.codes_of_jurisdiction()}
            options[-1] += [(name, code) for code in (*sorted(codes), ELSEWHERE)]
        elif any(name in version.guideline.concepts for version in (old, new)):
            options[-1] += [("present", name), ("absent", name)]
        else:
            bounds = [b for v in (old, new) for t in v.guideline.thresholds_of(name) for b in t]
            edges = sorted({bound.value for bound in bounds})
            # Half the distance that mutants move a threshold by. One number for each range between the edges.
            near = [edge + step for edge in edges for step in (Decimal("-0.005"), Decimal(0), Decimal("0.005"))]
            told_apart = {tuple(bound.holds(number) for bound in bounds): number for number in near or [Decimal(1)]}
            options[-1] += [("measurements", (name, number)) for number in told_apart.values()]
    for chosen in itertools.product(*options):
        record: dict[str, Any] = {"id": "p", "asOf": "2026-01-15", "present": [], "absent": [], "measurements": []}
        for key, value in chosen:
            if key in ("present", "absent"):
                record[key].append(value)
            elif key == "measurements":
                name, number = value
                unit = next(v.guideline.quantities[name].unit for v in (old, new) if name in v.guideline.quantities)
                record[key].append({"of": name, "value": float(number), "unit": unit})
            elif key == "jurisdiction":
                record[key] = value
        yield all(key != "unknown" for key, _ in chosen), record


def compared_by_running(old: Compiled, new: Compiled, comparison: Comparison) -> Counter[str | None]:
    """Run everybody through both versions, and hold the comparison to each; how many of each kind there are."""
    found: Counter[str | None] = Counter()
    looked_at = 0
    for decision in comparison.figures:
        changes = [change for change in comparison.changes if change.decision == decision]
        kinds: Counter[str | None] = Counter()
        patients = 0
        for fully_known, record in everybody(old, new, decision):
            kind = kind_by_running(old, new, record, decision)
            if kind == "nobody":  # a condition may leave out what follows for everybody
                continue
            kinds[kind] += 1
            if fully_known:
                patients += 1
                named = {
                    change.kind
                    for change in changes
                    for condition in change.conditions
                    if condition.count and holds(condition.known, record)
                }
                assert named == ({kind} if kind else set()), (decision, record)
        figures = comparison.figures[decision]
        assert (figures.possible, figures.patients) == (kinds.total(), patients), decision
        del kinds[None]
        assert kinds == figures.changed, decision
        for kind, rows in kinds.items():
            assert rows == sum(change.rows for change in changes if change.kind == kind), decision
        found += kinds
        looked_at += figures.possible
    assert looked_at > 20
    return found


def witnesses(old: Compiled, new: Compiled, comparison: Comparison) -> int:
    """Each witness, run through both versions, shows the change that it stands for."""
    shown = 0
    for change in comparison.changes:
        assert change.conditions
        for condition in change.conditions:
            assert kind_by_running(old, new, condition.witness, change.decision) == change.kind, condition
            shown += 1
    return shown


# ---- seeded changes --------------------------------------------------------------------------------

RULE = """
dro:preparation-neuro a owl:NamedIndividual , b12:Rule ; rdfs:label "a rule that is new"@en ;
    skos:definition "A rule that is new."@en ; b12:decision dro:Preparation ;
    b12:appliesTo dro:PatientWithDeficiencyAndNeurologicalInvolvement ; b12:modality b12:recommends ;
    b12:offers clin:hydroxocobalamin , clin:methylcobalamin ; prov:wasDerivedFrom dro:L20 ;
    b12:editorialReason "A test."@en .
dro:preparation-us-availability-over-preparation-neuro a owl:NamedIndividual , b12:Override ;
    rdfs:label "x"@en ; skos:definition "X."@en ; b12:preferred dro:preparation-us-availability ;
    b12:over dro:preparation-neuro ; b12:basis b12:availability ; prov:wasDerivedFrom dro:L46 .
### Rules: monitoring and review ---"""

DOSE = """im-1mg-monthly-lifelong.dose a owl:NamedIndividual , b12:Dose ;
    rdfs:label "1 mg"@en ;
    b12:low 1.0 ;"""

SEEDED: dict[str, tuple[str, list[tuple[str, str]], str, set[str]]] = {
    "threshold": (
        "thresholds.ttl",
        [("xsd:minExclusive 20.0", "xsd:minExclusive 25.0")],
        "major",
        {"changed", "questions"},
    ),
    "dose": (
        "regimens.ttl",
        [(DOSE, DOSE.replace("b12:low 1.0", "b12:low 0.5"))],
        "major",
        {"changed", "questions"},
    ),
    "new rule": ("rules.ttl", [("### Rules: monitoring and review ---", RULE)], "minor", {"answered", "questions"}),
    "alert dropped": ("rules.ttl", [("    b12:alertWhen dro:PatientGivenFolicAcid ;\n", "")], "major", {"changed"}),
    "label": (
        "rules.ttl",
        [('rdfs:label "hydroxocobalamin"@en', 'rdfs:label "another label"@en')],
        "patch",
        set(),
    ),
    "jurisdiction": (
        "phenotypes.ttl",
        [('owl:hasValue "US"', 'owl:hasValue "CA"')],
        "major",
        {"changed", "answered", "questions"},
    ),
}


@pytest.mark.parametrize("what", SEEDED)
def test_a_seeded_change_concerns_exactly_the_patients_whom_both_versions_answer_otherwise(
    what: str, old: Compiled, copy: Path
) -> None:
    file, replacements, advice, kinds = SEEDED[what]
    new = edited(copy, file, *replacements)
    comparison = compare(old, new)
    assert comparison.advice == advice, comparison.reasons
    assert {change.kind for change in comparison.changes} == kinds
    assert comparison.terms
    found = compared_by_running(old, new, comparison)
    assert found.keys() == kinds
    assert bool(witnesses(old, new, comparison)) == bool(kinds)
    assert "\n".join(lines(comparison)).startswith("Dr.Oracle")


def test_a_moved_threshold_concerns_those_between(old: Compiled, copy: Path) -> None:
    new = edited(copy, *[SEEDED["threshold"][0], *SEEDED["threshold"][1]])  # type: ignore[arg-type]
    comparison = compare(old, new)
    assert all(
        condition.known["DistalIleumResected"] == "> 20 cm and <= 25 cm"
        for change in comparison.changes
        for condition in change.conditions
    )
    figures = comparison.figures["MaintenanceTreatment"]
    assert sum(change.count for change in comparison.changes) == 24 == figures.patients // 3
    assert sum(change.rows for change in comparison.changes) == sum(figures.changed.values())
    (term,) = comparison.terms
    assert (term.kind, term.change, term.iri.rpartition("/")[2]) == ("Threshold", "changed", "LongDistalIlealResection")
    (property_,) = term.properties
    assert property_.path[-1].endswith("#minExclusive")
    assert [value.split('"')[1] for value in (*property_.old, *property_.new)] == ["20.0", "25.0"]
    assert [(reason, words) for reason, words in comparison.reasons if "bound" in words]


def test_an_offer_that_says_something_else_is_shown(old: Compiled, copy: Path) -> None:
    file, replacements, _, _ = SEEDED["dose"]
    (offer,) = compare(old, edited(copy, file, *replacements)).offers
    assert offer.offer == "im-1mg-monthly-lifelong"
    ((part, before, after),) = offer.parts
    assert part == "dose"
    assert "low 1," in str(before)
    assert "low 0.5," in str(after)


def test_nothing_changes_between_equal_versions_and_that_is_proven(old: Compiled, copy: Path) -> None:
    comparison = compare(old, compile_guideline(copy))
    assert (comparison.advice, comparison.reasons, comparison.changes, comparison.terms) == ("patch", (), (), ())
    rows = sum(figures.possible for figures in comparison.figures.values())
    assert rows > 1000
    assert f"No patient's outcome changes: proven over {rows} rows" in "\n".join(lines(comparison))


def test_a_new_number_of_the_version_is_no_change(old: Compiled, copy: Path) -> None:
    for path in copy.glob("*.ttl"):
        path.write_text(path.read_text(encoding="utf-8").replace("0.1.0", "0.2.0"), encoding="utf-8")
    new = compile_guideline(copy)
    assert new.guideline.version == "0.2.0"
    assert compare(old, new).terms == ()


# ---- reading of records ----------------------------------------------------------------------------


def second(folder: Path, *replacements: tuple[str, str]) -> tuple[Compiled, Compiled]:
    """The tests' own guideline before and after a change."""
    mine = Path(shutil.copytree(SECOND, folder / "second"))
    return compile_guideline(SECOND), edited(mine, "guideline.ttl", *replacements)


END = "ex:Care a b12:Decision"
NEW_CONCEPT = """ex:ManFlu a owl:Class , b12:Concept ; rdfs:subClassOf ex:Flu ; rdfs:label "man flu"@en ;
    skos:definition "Worse."@en . ex:Care a b12:Decision"""
NEW_QUANTITY_UNIT = """ex:Temperature.K a b12:UnitConversion ; b12:unit "K" ; b12:factor 2.0 .
ex:Temperature b12:acceptedUnit ex:Temperature.K . ex:Care a b12:Decision"""


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (END, NEW_CONCEPT, "ManFlu"),
        (END, NEW_QUANTITY_UNIT, "Temperature in K, which is 2 Cel"),
        (
            END,
            f'ex:Trip a b12:OutsideSourceConcept ; rdfs:label "trip"@en . ex:second b12:outsideScope ex:Trip . {END}',
            "Trip",
        ),
    ],
)
def test_what_a_record_may_newly_say_is_minor_and_what_it_may_no_longer_say_is_major(
    before: str, after: str, words: str, tmp_path: Path
) -> None:
    old, new = second(tmp_path, (before, after))
    there, back = compare(old, new), compare(new, old)
    assert (there.advice, back.advice) == ("minor", "major")
    assert there.lost == back.gained == ()
    assert any(words in text for text in there.gained)
    assert any(words in text for text in back.lost)
    assert "added" in {term.change for term in there.terms}
    assert {(term.iri, term.change) for term in back.terms if term.change == "removed"} == {
        (term.iri, "removed") for term in there.terms if term.change == "added"
    }


def test_a_concept_that_decides_and_is_new_leaves_open_what_was_settled(tmp_path: Path) -> None:
    new_rule = NEW_CONCEPT.replace(
        "ex:Care a",
        """ex:WithManFlu a owl:Class , b12:Phenotype ; rdfs:label "with man flu"@en ; owl:equivalentClass
    [ a owl:Class ; owl:intersectionOf ( b12:Patient [ a owl:Restriction ; owl:onProperty b12:hasFinding ;
    owl:someValuesFrom ex:ManFlu ] ) ] .
ex:man-flu-doctor a b12:Rule ; rdfs:label "x"@en ; b12:decision ex:Care ; b12:appliesTo ex:WithManFlu ;
    b12:modality b12:requires ; b12:offers ex:doctor ; prov:wasDerivedFrom ex:P1 . ex:Care a""",
    )
    old, new = second(tmp_path, (END, new_rule))
    there = compare(old, new)
    assert there.advice == "major"
    assert {change.kind for change in there.changes} == {"changed", "accepted", "questions"}
    compared_by_running(old, new, there)
    assert witnesses(old, new, there)
    back = compare(new, old)
    assert "refused" in {change.kind for change in back.changes}
    compared_by_running(new, old, back)
    assert witnesses(new, old, back)


def test_a_new_kind_of_relation_refuses_patients(tmp_path: Path) -> None:
    old, new = second(tmp_path, (END, f"ex:Thirst rdfs:subClassOf ex:Cold . {END}"))
    comparison = compare(old, new)
    assert comparison.advice == "major"
    assert any("Thirst present, Cold absent" in words for words in comparison.lost)
    # Care asks about colds alone, and thirst now says that there is one.
    assert {change.decision for change in comparison.changes} == {"Care", "Drink"}
    compared_by_running(old, new, comparison)
    tied = """ex:WithBoth a owl:Class , b12:Phenotype ; rdfs:label "both"@en ; owl:equivalentClass [ a owl:Class ;
    owl:intersectionOf ( b12:Patient [ a owl:Restriction ; owl:onProperty b12:hasFinding ; owl:someValuesFrom ex:Cold ]
    [ a owl:Restriction ; owl:onProperty b12:hasFinding ; owl:someValuesFrom ex:Thirst ] ) ] .
ex:both-bed a b12:Rule ; rdfs:label "x"@en ; b12:decision ex:Drink ; b12:appliesTo ex:WithBoth ;
    b12:modality b12:recommends ; b12:offers ex:bed ; prov:wasDerivedFrom ex:P1 . """
    (tmp_path / "more").mkdir()
    _, before = second(tmp_path / "more", (END, tied + END))
    after = edited(tmp_path / "more" / "second", "guideline.ttl", (END, f"ex:Thirst rdfs:subClassOf ex:Cold . {END}"))
    comparison = compare(before, after)
    assert "refused" in {change.kind for change in comparison.changes}
    compared_by_running(before, after, comparison)
    assert witnesses(before, after, comparison)


def test_a_decision_that_is_new_or_gone(tmp_path: Path) -> None:
    more = f"""ex:Rest a b12:Decision ; rdfs:label "rest"@en ; b12:order 3 ; b12:concerns ex:WithCold .
ex:rest-bed a b12:Rule ; rdfs:label "x"@en ; b12:decision ex:Rest ; b12:appliesTo ex:WithCold ;
    b12:modality b12:recommends ; b12:offers ex:bed ; prov:wasDerivedFrom ex:P1 . {END}"""
    old, new = second(tmp_path, (END, more))
    there, back = compare(old, new), compare(new, old)
    assert (there.advice, back.advice) == ("minor", "major")
    assert {change.kind for change in there.changes} == {"answered"}
    assert {change.old.status for change in there.changes} == {"not-asked"}
    assert {change.kind for change in back.changes} == {"changed"}
    compared_by_running(old, new, there)
    assert witnesses(new, old, back)


def test_shapes_that_demand_more_are_major_and_other_words_are_nothing(copy: Path, old: Compiled) -> None:
    shape = """@prefix sh: <http://www.w3.org/ns/shacl#> . @prefix b12: <https://w3id.org/b12kg/> .
[] a sh:NodeShape ; sh:targetClass b12:Record ; sh:property [ sh:path b12:jurisdiction ; sh:maxCount 7 ;
    sh:message "Seven at most." ; sh:severity sh:Violation ] ."""
    (copy / "shapes.ttl").write_text(shape, encoding="utf-8")
    new = compile_guideline(copy)
    assert [advice for advice, _ in compare(old, new).reasons] == ["major"]
    assert compare(new, old).advice == "minor"
    (copy / "shapes.ttl").write_text(shape.replace("Seven at most", "At most seven"), encoding="utf-8")
    assert compare(new, compile_guideline(copy)).advice == "patch"


# ---- what cannot be compared ------------------------------------------------------------------------


def test_too_many_rows_are_refused(old: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refined, "MOST_ROWS", 200)
    with pytest.raises(
        InvalidGuideline, match=r"MaintenanceTreatment: depends on too many.*729 rows by BariatricSurgery"
    ):
        compare(old, old)


def test_another_canonical_unit_is_refused(tmp_path: Path) -> None:
    old, new = second(
        tmp_path,
        ('b12:canonicalUnit "Cel"', 'b12:canonicalUnit "K"'),
        ('b12:unit "Cel" ; b12:factor 1.0', 'b12:unit "K" ; b12:factor 1.0'),
    )
    with pytest.raises(InvalidGuideline, match="the canonical unit of Temperature changes"):
        compare(old, new)


# ---- mutants -----------------------------------------------------------------------------------------


def mutated(graph: Any, files: tuple[Path, ...], shapes: tuple[Path, ...]) -> Compiled:
    content = read_guideline(graph, files=files, shapes=shapes, digest="sha256:mutant")
    return Compiled(content, tabulate.build(content, partial(decide, content)), compiled(content))


def test_mutants_are_compared_as_running_both_compares_them() -> None:
    """A sample of every way to be wrong by one step, on the small guideline."""
    original = load_guideline(SECOND)
    graph = Graph() + original.graph()
    for rule in [*graph.subjects(RDF.type, URIRef(B12 + "Rule"))]:
        graph.add((rule, RDFS.isDefinedBy, URIRef(original.iri)))  # mutants of overrides name where they are from
    old = mutated(graph, original.files, original.shapes)
    sample = random.Random(4).sample(mutants(graph), 60)
    compared: Counter[str] = Counter()
    for mutant in sample:
        try:
            new = mutated(mutant.apply(graph), original.files, original.shapes)
        except InvalidGuideline:
            compared["invalid"] += 1
            continue
        comparison = compare(old, new)
        found = compared_by_running(old, new, comparison).keys()
        witnesses(old, new, comparison)
        by_outcomes = "major" if found & {"refused", "changed"} else "minor" if found else "patch"
        if not comparison.lost and not comparison.gained:
            assert comparison.advice == by_outcomes, mutant.id
        elif comparison.lost:
            assert comparison.advice == "major", mutant.id
        compared[comparison.advice] += 1
    assert compared["major"] > 10
    assert compared["patch"] > 5
    assert compared.total() == 60


# ---- cohort ------------------------------------------------------------------------------------------

RECORDS: list[dict[str, Any]] = [
    {"id": "a", "asOf": "2026-01-15", "measurements": [{"of": "DistalIleumResected", "value": value, "unit": "cm"}]}
    | {"present": ["PerniciousAnemia"]}
    for value in (20, 22, 25, 30)
]


def test_a_cohort_is_counted_and_named_by_place(old: Compiled, copy: Path, tmp_path: Path) -> None:
    new = edited(copy, "thresholds.ttl", ("xsd:minExclusive 20.0", "xsd:minExclusive 25.0"))
    texts = [*map(json.dumps, RECORDS), "", "no json", json.dumps({**RECORDS[0], "present": ["Secret"]}), "5"]
    straddling = {**RECORDS[0], "measurements": [{**RECORDS[0]["measurements"][0], "value": 24, "comparator": "<"}]}
    texts.append(json.dumps(straddling))
    (tmp_path / "c.ndjson").write_text("\n".join(texts), encoding="utf-8")
    comparison = compare(old, new, read_cohort(tmp_path / "c.ndjson"))
    cohort = comparison.cohort
    assert cohort is not None
    assert cohort.records == 8
    assert cohort.places == ("line 2", "line 3")
    assert cohort.changed["MaintenanceTreatment"] == {"changed": ("line 2", "line 3")}
    assert {decision for decision, kinds in cohort.changed.items() if kinds} == {"MaintenanceTreatment"}
    assert cohort.refused == {"old": ("line 9",), "new": (), "both": ("line 6", "line 7", "line 8")}
    assert compare(new, old, read_cohort(tmp_path / "c.ndjson")).cohort.refused["new"] == ("line 9",)  # type: ignore[union-attr]
    shown = "\n".join(lines(comparison))
    assert "Cohort: 2 of 8 records change" in shown
    assert "Secret" not in shown + json.dumps(comparison.to_dict()) + comparison.graph().serialize()


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (json.dumps(RECORDS), ["[0]", "[1]", "[2]", "[3]"]),
        (json.dumps(RECORDS[0], indent=2), ["record"]),
        (json.dumps([RECORDS[0], 5]), ["[0]", "[1]"]),
        ("[]", []),
    ],
)
def test_a_cohort_is_a_list_or_one_record_as_well(text: str, places: list[str], tmp_path: Path, old: Compiled) -> None:
    (tmp_path / "c.json").write_text(text, encoding="utf-8")
    assert [place for place, _ in read_cohort(tmp_path / "c.json")] == places
    cohort = compare(old, old, read_cohort(tmp_path / "c.json")).cohort
    assert cohort is not None
    assert cohort.records == len(places)
    assert cohort.places == ()


def test_a_cohort_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        list(read_cohort(tmp_path / "none"))


# ---- as RDF ------------------------------------------------------------------------------------------


def test_sparql_can_ask_what_changed(old: Compiled, copy: Path) -> None:
    comparison = compare(old, edited(copy, "thresholds.ttl", ("xsd:minExclusive 20.0", "xsd:minExclusive 25.0")))
    graph = comparison.graph()
    query = read_query(QUERIES / "competency" / "what-changed.rq")
    rows = [[row[column] for column in query.columns] for row in run(store_of([graph]), query)]
    terms = [row for row in rows if row[5] is None]
    assert [[cell and cell.value for cell in row[:2]] for row in terms] == [["changed", comparison.terms[0].iri]]
    assert [terms[0][3].value.split('"')[1], terms[0][4].value.split('"')[1]] == ["20.0", "25.0"]
    conditions = [condition for change in comparison.changes for condition in change.conditions]
    assert len(rows) - 1 == len({(c.patients) for c in conditions}) > 5
    by_rdflib = [list(row) for row in graph.query(query.text)]  # type: ignore[arg-type]
    assert len(by_rdflib) == len(rows)
    declared = {str(term) for term in old.guideline.graph().subjects()}
    ours = {str(p) for p in graph.predicates() if str(p).startswith("https://w3id.org/b12kg/")}
    assert len(ours) > 15
    vocabulary = {
        f"https://w3id.org/b12kg/{name}"
        for name in re.findall(r"^b12:(\S+) a", (ONTOLOGY / "vocabulary.ttl").read_text(), re.MULTILINE)
    }
    assert ours <= declared | vocabulary | {p for p in ours if p.rpartition("/")[0].endswith("/clinical")}


# ---- versions ----------------------------------------------------------------------------------------


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with two commits: the shipped ontology, and one whose queries and threshold differ."""
    top = tmp_path / "project"
    shutil.copytree(ONTOLOGY, top / "ontology")
    shutil.copytree(QUERIES, top / "queries")
    git(top.parent, "init", "-q", "-b", "main", str(top))
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "one")
    git(top, "tag", "v1.0.0")
    thresholds = top / "ontology" / "guidelines" / NAME / "thresholds.ttl"
    thresholds.write_text(thresholds.read_text().replace("xsd:minExclusive 20.0", "xsd:minExclusive 25.0"))
    clinical = top / "ontology" / "clinical.ttl"
    clinical.write_text(clinical.read_text() + '\nclin:Hematocrit skos:altLabel "packed cells"@en .\n')
    git(top, "commit", "-q", "-a", "-m", "two")
    (top / "untracked").mkdir()
    monkeypatch.chdir(top)
    return top


def test_revisions_and_tags_are_read_with_their_own_ontology(repository: Path, tmp_path: Path, old: Compiled) -> None:
    found = {}
    for where in ("HEAD", "HEAD~1", "v1.0.0", "1.0.0", "main"):
        (tmp_path / where).mkdir()
        found[where] = resolve(where, tmp_path / where, None)
        assert found[where].is_relative_to(tmp_path / where)
    before, after = (compile_guideline(found[where]) for where in ("1.0.0", "HEAD"))
    assert before.guideline.digest == old.guideline.digest
    assert all(path.is_relative_to(tmp_path / "HEAD") for path in (*after.guideline.files, *after.guideline.shapes))
    comparison = compare(before, after)
    assert comparison.advice == "major"
    assert {term.iri.rpartition("/")[2] for term in comparison.terms} == {"LongDistalIlealResection", "Hematocrit"}
    assert subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True).stdout == b""


def test_a_folder_and_a_shipped_name_are_taken_as_they_are(tmp_path: Path, copy: Path) -> None:
    assert resolve(str(copy), tmp_path, None) == copy
    assert resolve(NAME, tmp_path, None) == folder_of(NAME)


@pytest.mark.parametrize(
    "where",
    ["--output=x", "-h", "", "HEAD\0", "nothing", "HEAD:ontology", "HEAD --output=x", "../..", "$(touch x)", "HEAD;ls"],
)
def test_a_name_that_is_no_revision_is_refused(where: str, repository: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(UsageError):
        resolve(where, into, None)
    assert not list(into.iterdir())
    assert not (repository / "x").exists()


def test_a_revision_without_the_guideline_names_those_that_it_has(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with pytest.raises(UsageError, match=f"no guideline 'other': {NAME}"):
        resolve("HEAD", tmp_path / "one", "other")
    git(repository, "rm", "-q", "-r", "queries/decide")
    git(repository, "commit", "-q", "-m", "three")
    (tmp_path / "two").mkdir()
    with pytest.raises(UsageError, match="no vocabulary, shapes or decide queries"):
        resolve("HEAD", tmp_path / "two", None)


def test_outside_a_repository_no_revision_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="here is no git repository"):
        resolve("HEAD", tmp_path, None)


# ---- a tree of one's own -----------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The guideline in a copy of the ontology and queries."""
    shutil.copytree(ONTOLOGY, tmp_path / "ontology")
    shutil.copytree(QUERIES, tmp_path / "queries")
    return tmp_path / "ontology" / "guidelines" / NAME


def test_the_tree_of_a_folder(tree: Path, copy: Path) -> None:
    assert tree_of(tree).ontology == tree.parents[1].resolve()
    assert tree_of(copy) == tree_of(GUIDELINES / NAME) == tree_of(SECOND)
    assert tree_of(copy).ontology == ONTOLOGY
    shutil.rmtree(tree.parents[2] / "queries" / "decide")
    assert tree_of(tree).ontology == ONTOLOGY


@pytest.mark.parametrize(
    "path", ["ontology/clinical.ttl", "ontology/shapes/record.ttl", "queries/decide/4-agreed-offers.rq"]
)
def test_digest_and_name_of_the_tables_follow_the_files_of_the_tree(path: str, tree: Path) -> None:
    digest, name = load_guideline(tree).digest, file_name(tree)
    assert digest == load_guideline(NAME).digest
    file = tree.parents[2] / path
    file.write_text(file.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert load_guideline(tree).digest != digest
    assert file_name(tree) != name


def test_decisions_are_made_by_the_queries_of_the_tree(tree: Path, old: Compiled) -> None:
    """Without overrides every overridden rule counts."""
    query = tree.parents[2] / "queries" / "decide" / "2-overridden-rules.rq"
    query.write_text(
        query.read_text(encoding="utf-8").replace("WHERE {", "WHERE { FILTER ( false )", 1), encoding="utf-8"
    )
    new = compile_guideline(tree)
    comparison = compare(old, new)
    assert comparison.terms == ()
    assert comparison.advice == "major"
    assert "conflict" in {change.new.status for change in comparison.changes}
    assert witnesses(old, new, comparison)


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "8-endings.rq",
            "SELECT ?filling ?property ?value",
            "SELECT ?filling ?property",
            "8-endings.rq: does not give",
        ),
        ("8-endings.rq", "#            ?value     IRI", "#            value", "8-endings.rq: does not give"),
        ("5-outcome-status.rq", "WHERE {", "WHERE { FILTER ( false )", "queries/decide: a decision has no one status"),
    ],
    ids=["a column less", "a header without one", "no status"],
)
def test_decide_queries_that_do_not_give_what_is_read_are_refused(
    name: str, old: str, new: str, message: str, tree: Path
) -> None:
    query = tree.parents[2] / "queries" / "decide" / name
    text = query.read_text(encoding="utf-8")
    assert old in text
    query.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(InvalidGuideline, match=message):
        compile_guideline(tree)


def test_a_blank_node_that_hangs_on_itself_is_refused(copy: Path) -> None:
    with (copy / "rules.ttl").open("a", encoding="utf-8") as file:
        file.write("\ndro:maintenance-neuro <urn:p> _:a . _:a <urn:p> _:b . _:b <urn:p> _:a .\n")
    with pytest.raises(InvalidGuideline, match="a blank node: hangs on itself"):
        compare(load_compiled("droracle-2025"), load_compiled(copy))


@pytest.mark.parametrize(
    ("kind", "parent", "decision"),
    [
        ("B12TreatmentStarted", "VitaminB12Deficiency", "InitialTreatment"),
        ("RenalDysfunction", "SevereVitaminB12Deficiency", "MaintenanceTreatment"),
        ("SevereNeurologicalSymptoms", "B12TreatmentStarted", "FolicAcid"),
    ],
)
def test_a_concept_that_now_entails_what_a_decision_asks_is_compared_too(
    kind: str, parent: str, decision: str, copy: Path
) -> None:
    with (copy / "rules.ttl").open("a", encoding="utf-8") as file:
        terms = (f"<https://w3id.org/b12kg/clinical/{name}>" for name in (kind, parent))
        file.write("\n{} <http://www.w3.org/2000/01/rdf-schema#subClassOf> {} .\n".format(*terms))
    old, new = load_compiled("droracle-2025"), load_compiled(copy)
    record = {"id": "urn:p", "asOf": "2026-01-15", "present": [kind]}
    was, now = (ExecutableGuideline(version).recommend(record).decisions[decision].outcome for version in (old, new))
    assert was != now
    changes = [change for change in compare(old, new).changes if change.decision == decision]
    assert any(f"{kind} present" in condition.patients for change in changes for condition in change.conditions)


def test_an_alternative_that_says_something_else_is_a_change_where_the_decision_is_open_too(copy: Path) -> None:
    edit(copy, "regimens.ttl", "b12:high 2.0", "b12:high 9.0")
    record = {"id": "urn:p", "asOf": "2026-01-15", "present": ["VitaminB12Deficiency", "PrefersOralTreatment"]}
    old, new = load_compiled("droracle-2025"), load_compiled(copy)
    comparison = compare(old, new, [("line 1", record)])
    assert comparison.advice == "major"
    assert comparison.cohort is not None
    assert comparison.cohort.places == ("line 1",)
    compared_by_running(old, new, comparison)
