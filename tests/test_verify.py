"""The proof: what it finds, by whom it is shown, and that each property can fail."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from rdflib import RDF, Graph, URIRef

import b12kg
from b12kg.cli import main
from b12kg.compiled import Compiled
from b12kg.iris import B12
from b12kg.outcome import Verdict
from b12kg.recommend import Engine, ExecutableGuideline
from b12kg.records import read
from b12kg.tables import Table
from b12kg.verify import Verification, verify
from tests.conftest import SECOND
from tests.test_second_guideline import add, edit

RULE = """
dro:{name} a owl:NamedIndividual , b12:Rule ; rdfs:label "{name}"@en ; skos:definition "An example."@en ;
    b12:decision dro:{decision} ; b12:appliesTo dro:{phenotype} ; b12:modality b12:recommends ;
    b12:offers dro:{offer} ; prov:wasDerivedFrom dro:L40 .
"""


@pytest.fixture(scope="module")
def shipped(executable: ExecutableGuideline) -> Verification:
    return verify(executable.compiled)


# ---- the shipped guideline -----------------------------------------------------------------------


def test_every_finding_is_expected_and_every_expectation_met(shipped: Verification) -> None:
    assert shipped.unexpected == ()
    assert len(shipped.findings) == len(shipped.guideline.expected) == 12


def test_the_conflicts_are_those_of_the_source(shipped: Verification) -> None:
    conflicts = {finding.rules for finding in shipped.findings if finding.kind == "conflict"}
    assert conflicts == {
        ("maintenance-ileal-resection", "maintenance-neuro"),
        ("maintenance-bariatric", "maintenance-neuro"),
        ("maintenance-bariatric-oral", "maintenance-neuro"),
        ("maintenance-bariatric", "maintenance-ileal-resection"),
        ("maintenance-bariatric-oral", "maintenance-ileal-resection"),
        ("preparation-renal", "preparation-us-availability"),
    }


@pytest.mark.parametrize("engine", ["table", "reference"])
def test_each_witness_shows_its_finding(shipped: Verification, executable: ExecutableGuideline, engine: Engine) -> None:
    for finding in shipped.findings:
        answer = executable.recommend(finding.witness, engine=engine).decisions[finding.decision]
        if finding.kind == "gap":
            assert (answer.status, answer.outcome.source_silent) == ("not-applicable", True)
        else:
            assert answer.status == "conflict"
            states = {found.rule.name: found.state for found in answer.rules}
            assert {states[rule] for rule in finding.rules} == {"applies"}


def test_every_conflict_and_every_gap_of_a_table_is_found(
    shipped: Verification, executable: ExecutableGuideline
) -> None:
    """Each fully known patient without an answer is one of those whom a finding is about, and no other is."""
    for decision, table in executable.compiled.tables.decisions.items():
        stated = [f.patients.split(", ") for f in shipped.findings if f.decision == decision]
        for row, verdict in table.rows():
            known = table.known(row)
            if len(known) == len(table.features):
                facts = {f"{feature} {value}" for feature, value in known.items()}
                found = any(set(some) <= facts for some in stated)
                assert found == (verdict.outcome.status == "conflict" or verdict.outcome.source_silent), known


def test_the_figures(shipped: Verification) -> None:
    figures = shipped.figures["MaintenanceTreatment"]
    assert (figures.rows, figures.possible, figures.patients) == (729, 648, 48)
    assert sum(figures.statuses.values()) == figures.possible
    assert figures.questions == figures.statuses["undetermined"] == 429
    assert figures.roles["oral-by-preference"] == "adds an alternative only"
    assert figures.pairs["maintenance-ileal-resection", "maintenance-neuro"] == {
        "overridden by a third": 4,
        "conflict": 4,
    }
    assert shipped.figures["InitialTreatment"].roles["initial-severe"] == "corroborates only"
    assert sum(f.rows for f in shipped.figures.values()) == 1165


def test_a_step_leads_to_each_possible_row_that_knows_one_fact_more(
    shipped: Verification, executable: ExecutableGuideline
) -> None:
    for decision, table in executable.compiled.tables.decisions.items():
        possible = [table.known(row).items() for row, _ in table.rows()]
        pairs = sum(one <= other and len(other) == len(one) + 1 for one in possible for other in possible)
        assert shipped.figures[decision].steps == pairs


# ---- each property can fail ------------------------------------------------------------------------


def verified(folder: Path) -> Verification:
    return verify(b12kg.load(folder).compiled)


def kinds(verification: Verification) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(finding.kind, finding.decision, finding.rules) for finding in verification.unexpected}


def test_a_conflict_that_is_not_expected(copy: Path) -> None:
    rule = {"name": "monitor-twice", "decision": "PeriodicMonitoring", "phenotype": "PatientWithSevereDeficiency"}
    add(copy, "rules.ttl", RULE.format(**rule, offer="b12-level-every-3-months"))
    assert kinds(verified(copy)) == {("conflict", "PeriodicMonitoring", ("monitor-periodic", "monitor-twice"))}


def test_a_gap_that_is_not_expected(copy: Path) -> None:
    edit(copy, "rules.ttl", "b12:concerns dro:PatientWithPerniciousAnemia", "b12:concerns dro:PatientWithDeficiency")
    (finding,) = verified(copy).unexpected
    assert (finding.kind, finding.decision, finding.count) == ("gap", "PotassiumMonitoring", 1)
    assert finding.patients == "PerniciousAnemia absent, VitaminB12Deficiency present"
    assert finding.witness["absent"] == ["PerniciousAnemia"]


def test_a_gap_that_grows_is_another_gap(copy: Path) -> None:
    edit(copy, "thresholds.ttl", "xsd:minInclusive 10.0", "xsd:minInclusive 15.0")
    found = verified(copy).unexpected
    assert [(f.kind, f.patients) for f in found] == [
        ("gap", "Homocysteine < 15 umol/L"),
        ("unmet", "gap: Homocysteine < 10 umol/L"),
    ]


def test_a_rule_beyond_its_decision(copy: Path) -> None:
    edit(copy, "rules.ttl", "b12:concerns dro:PatientForMaintenance", "b12:concerns dro:PatientWithDeficiency")
    found = {f.rules[0]: f for f in verified(copy).unexpected if f.kind == "unconcerned"}
    assert found.keys() == {
        "maintenance-bariatric",
        "maintenance-bariatric-oral",
        "maintenance-ileal-resection",
    }
    bariatric = found["maintenance-bariatric"]
    assert (bariatric.patients, bariatric.count) == ("no patient with deficiency", 8)
    assert "VitaminB12Deficiency" in bariatric.witness["absent"]  # type: ignore[operator]


def test_a_rule_that_never_applies(copy: Path) -> None:
    edit(
        copy,
        "phenotypes.ttl",
        "owl:complementOf [ a owl:Restriction ; owl:onProperty b12:hasFinding ; owl:someValuesFrom "
        "clin:B12TreatmentStarted ]",
        "owl:complementOf [ a owl:Restriction ; owl:onProperty b12:hasFinding ; owl:someValuesFrom "
        "clin:VitaminB12Deficiency ]",
    )
    assert ("dead-rule", "FolicAcid", ("folic-acid-after-b12",)) in kinds(verified(copy))


def test_an_override_that_never_acts(copy: Path) -> None:
    add(
        copy,
        "rules.ttl",
        """
dro:initial-neuro-over-initial-without-neuro a owl:NamedIndividual , b12:Override ;
    b12:preferred dro:initial-neuro ; b12:over dro:initial-without-neuro ; b12:basis b12:editorial ;
    b12:editorialReason "An example."@en .
""",
    )
    assert kinds(verified(copy)) == {("idle-override", "InitialTreatment", ("initial-neuro", "initial-without-neuro"))}


def test_three_rules_that_agree_in_pairs_only(tmp_path: Path) -> None:
    text = (SECOND / "guideline.ttl").read_text(encoding="utf-8")
    for name, offers in (("one", "ex:tea , ex:bed"), ("two", "ex:bed , ex:doctor"), ("three", "ex:doctor , ex:tea")):
        text += f"""
ex:{name} a b12:Rule ; rdfs:label "{name}"@en ; b12:decision ex:Rest ; b12:appliesTo ex:WithThirst ;
    b12:modality b12:recommends ; b12:offers {offers} ; prov:wasDerivedFrom ex:P1 .
"""
    text += 'ex:Rest a b12:Decision ; rdfs:label "rest"@en ; b12:order 3 ; b12:concerns ex:WithThirst .'
    (tmp_path / "guideline.ttl").write_text(text, encoding="utf-8")
    found = {f.rules for f in verified(tmp_path).findings if f.decision == "Rest"}
    assert found == {("one", "three", "two")}


def tampered(compiled: Compiled, decision: str, known: dict[str, str], **outcome: Any) -> Compiled:
    """The tables with another outcome in one row: what no engine would give."""
    table = compiled.tables.decisions[decision]
    row = table.row(known)
    verdict = dataclasses.replace(table.at(row), outcome=dataclasses.replace(table.at(row).outcome, **outcome))
    codes = [len(table.entries) if place == row else code for place, code in enumerate(table.codes)]
    wrong: Table[Verdict] = Table(table.features, codes, (*table.entries, verdict))
    decisions = {**compiled.tables.decisions, decision: wrong}
    return dataclasses.replace(compiled, tables=dataclasses.replace(compiled.tables, decisions=decisions))


def test_a_settled_answer_that_a_fact_would_turn(executable: ExecutableGuideline) -> None:
    known = {"VitaminB12Deficiency": "present"}
    wrong = tampered(executable.compiled, "FolicAcid", known, status="not-applicable", missing=(), possible=())
    (finding,) = (found for found in verify(wrong).unexpected if found.kind == "not-monotone")
    assert (finding.decision, finding.count) == ("FolicAcid", 1)
    assert finding.patients == "VitaminB12Deficiency present"


def test_a_question_too_few(executable: ExecutableGuideline) -> None:
    wrong = tampered(executable.compiled, "FolicAcid", {}, missing=("B12TreatmentStarted",))
    assert ("insufficient-question", "FolicAcid", ()) in kinds(verify(wrong))
    none = tampered(executable.compiled, "FolicAcid", {}, missing=())
    assert ("insufficient-question", "FolicAcid", ()) in kinds(verify(none))


def test_a_question_too_many(executable: ExecutableGuideline) -> None:
    wrong = tampered(
        executable.compiled, "FolicAcid", {"VitaminB12Deficiency": "present"},
        missing=("B12TreatmentStarted", "VitaminB12Deficiency"),
    )  # fmt: skip
    assert kinds(verify(wrong)) == {("superfluous-question", "FolicAcid", ())}


def with_rule(compiled: Compiled, decision: str, known: dict[str, str], **found: Any) -> Compiled:
    """The tables with another finding on the first rule in one row."""
    table = compiled.tables.decisions[decision]
    row = table.row(known)
    first, *others = table.at(row).rules
    verdict = dataclasses.replace(table.at(row), rules=(dataclasses.replace(first, **found), *others))
    codes = [len(table.entries) if place == row else code for place, code in enumerate(table.codes)]
    wrong: Table[Verdict] = Table(table.features, codes, (*table.entries, verdict))
    decisions = {**compiled.tables.decisions, decision: wrong}
    return dataclasses.replace(compiled, tables=dataclasses.replace(compiled.tables, decisions=decisions))


@pytest.mark.parametrize(
    "found", [{"certain": True}, {"state": "applies"}, {"state": "overridden"}, {"state": "excluded"}]
)
def test_a_state_that_a_fact_takes_back(executable: ExecutableGuideline, found: dict[str, Any]) -> None:
    """Of one fact it is unknown whether the rule applies, and learning it leads both ways."""
    decision, rule = "PotassiumMonitoring", "monitor-potassium"
    wrong = kinds(verify(with_rule(executable.compiled, decision, {}, **found)))
    assert wrong == {("not-monotone", decision, (rule,))}


def test_an_alternative_that_a_fact_takes_away(executable: ExecutableGuideline) -> None:
    known = {"VitaminB12Deficiency": "absent"}
    wrong = tampered(executable.compiled, "InitialTreatment", known, alternatives=("oral-1-2mg-daily",))
    assert ("not-monotone", "InitialTreatment", ()) in kinds(verify(wrong))


def test_an_answer_that_had_been_ruled_out(executable: ExecutableGuideline) -> None:
    table = executable.compiled.tables.decisions["FolicAcid"]
    possible = table.at(table.row({})).outcome.possible
    assert len(possible) == 2
    wrong = tampered(executable.compiled, "FolicAcid", {}, possible=possible[:1])
    assert ("not-monotone", "FolicAcid", ()) in kinds(verify(wrong))


# ---- forms -----------------------------------------------------------------------------------------


def test_the_text_form(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 0
    out = capsys.readouterr().out
    for phrase in (
        "Review status of the source: content is pending human review.",
        "in all                       1165      1075       125           588   3782        588",
        "conflict in Preparation: preparation-renal + preparation-us-availability",
        "12 findings, none of them unexpected",
        "no medical device",
    ):
        assert phrase in out, phrase
    assert "UNEXPECTED" not in out


def test_a_guideline_that_expects_nothing_exits_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--guideline", str(SECOND), "--format", "json"]) == 1
    form = json.loads(capsys.readouterr().out)
    assert form["unexpected"] == len(form["findings"]) > 0
    assert main(["verify", "--guideline", str(SECOND)]) == 1
    assert "UNEXPECTED conflict in Care" in capsys.readouterr().out


def test_the_json_form(capsys: pytest.CaptureFixture[str], shipped: Verification) -> None:
    assert main(["verify", "--format", "json"]) == 0
    form = json.loads(capsys.readouterr().out)
    assert form == json.loads(json.dumps(shipped.to_dict()))
    assert len(form["decisions"]) == 11
    assert form["findings"][0]["witness"]["present"] == ["BariatricSurgery"]
    assert form["findings"][0]["witness"]["measurements"] == [{"of": "DistalIleumResected", "value": 21, "unit": "cm"}]


def test_the_turtle_form_holds_each_finding_with_a_record_that_can_be_read(
    capsys: pytest.CaptureFixture[str], shipped: Verification, executable: ExecutableGuideline
) -> None:
    assert main(["verify", "--format", "turtle"]) == 0
    graph = Graph().parse(data=capsys.readouterr().out, format="turtle")
    findings = set(graph.subjects(RDF.type, URIRef(B12 + "VerificationFinding")))
    assert len(findings) == len(shipped.findings)
    for finding in findings:
        witness = graph.value(finding, URIRef(B12 + "witness"))
        part = Graph()
        for triple in graph.triples((witness, None, None)):
            part.add(triple)
            for below in graph.triples((triple[2], None, None)):
                part.add(below)
        assert read(part.serialize(format="nt").encode(), executable.content, format="nt").problems == ()
