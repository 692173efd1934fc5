"""Answers and guidelines as FHIR R4: valid, complete, never a chosen order, and nothing of the record beyond need.

What is valid is for two validators to say: fhir.resources knows types and cardinalities (of R4B, whose
resources that are used here are those of R4), npm `fhir` the required bindings and elements of R4.
"""

from __future__ import annotations

import base64
import copy
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from pydantic import ValidationError

import b12kg
from b12kg.codes import load_codes
from b12kg.export_fhir import guideline_bundle
from b12kg.fhir import UCUM, marked
from b12kg.guideline import Guideline
from b12kg.iris import B12
from b12kg.outcome import Status
from b12kg.recommend import ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.recommendation.fhir import bundle
from b12kg.resources import EXAMPLES
from b12kg.tables import example
from tests.cases import cases, published
from tests.conftest import SECOND

ROOT = Path(__file__).parents[1]
NODE = Path(__file__).parent / "fhir_node"
VALIDATES = shutil.which("node") is not None and (NODE / "node_modules" / "fhir").is_dir()
needs_node = pytest.mark.skipif(not VALIDATES, reason="needs Node.js, and `npm ci --prefix tests/fhir_node`")

Json = dict[str, Any]


# ---- what is looked at -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def second() -> ExecutableGuideline:
    return b12kg.load(SECOND)


@pytest.fixture(scope="module")
def answers(executable: ExecutableGuideline, second: ExecutableGuideline) -> dict[str, Recommendation]:
    """The answers to all examples, cases and published patients, and to some by another guideline."""
    records: list[tuple[str, Any]] = [(path.name, path) for path in sorted(EXAMPLES.glob("*.json"))]
    records += [
        (f"{case.file} {case.name}", case.record(executable.content))
        for case in cases()
        if "refused" not in case.expect
    ]
    records += [(f"published {number}", entry["record"]) for number, entry in enumerate(published())]
    found = {name: executable.recommend(record) for name, record in records}
    assert len(found) == len(records) > 100
    by_another: dict[str, Json] = {
        "second silent": {"present": ["Thirst"]},
        "second conflict": {"present": ["Cold"], "absent": ["Flu"], "measurements": [degrees(38)]},
        "second permitted": {"present": ["Flu"], "measurements": [degrees(37)]},
        "second unknown": {"present": ["Cold"]},
    }
    for name, stated in by_another.items():
        found[name] = second.recommend({"id": f"urn:{name.replace(' ', ':')}", "asOf": "2026-01-15", **stated})
    return found


def degrees(value: float) -> Json:
    return {"of": "Temperature", "value": value, "unit": "Cel"}


@pytest.fixture(scope="module")
def bundles(answers: dict[str, Recommendation]) -> dict[str, Json]:
    return {name: bundle(answer) for name, answer in answers.items()}


@pytest.fixture(scope="module")
def guidelines(executable: ExecutableGuideline, second: ExecutableGuideline) -> dict[str, Json]:
    return {g.content.id: guideline_bundle(g.content) for g in (executable, second)}


@pytest.fixture(scope="module")
def conflict(executable: ExecutableGuideline) -> Json:
    return bundle(executable.recommend(EXAMPLES / "conflict.json"))


# ---- reading a bundle ------------------------------------------------------------------------------


def resources(made: Json, type_: str | None = None) -> list[Json]:
    return [e["resource"] for e in made["entry"] if type_ in (None, e["resource"]["resourceType"])]


def walk(part: Any) -> Iterator[Json]:
    """Every object within a part, itself included."""
    if isinstance(part, dict):
        yield part
    for child in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from walk(child)


def by_url(made: Json) -> dict[str, Json]:
    found = {entry["fullUrl"]: entry["resource"] for entry in made["entry"]}
    assert len(found) == len(made["entry"])
    return found


def code(resource: Json, key: str) -> str:
    """Which decision a resource is about."""
    concept = resource[key][0] if isinstance(resource[key], list) else resource[key]
    return str(concept["coding"][0]["code"])


def response_of(made: Json, decision: str) -> Json:
    (found,) = (r for r in resources(made, "GuidanceResponse") if code(r, "reasonCode") == decision)
    return found


def group_of(made: Json, decision: str) -> Json | None:
    """The RequestGroup that is the result for a decision."""
    result = response_of(made, decision).get("result")
    return None if result is None else by_url(made)[result["reference"]]


def leaves(action: Json) -> list[Json]:
    below = action.get("action")
    return [action] if below is None else [leaf for child in below for leaf in leaves(child)]


def options(group: Json) -> list[Json]:
    """The actions among which is to be selected, or the only one."""
    (top,) = group["action"]
    grouped = "selectionBehavior" in top and top["selectionBehavior"] != "all"
    found: list[Json] = top["action"] if grouped else [top]
    return found


def provenance_of(made: Json, resource: Json) -> list[Json]:
    url = f"urn:uuid:{resource['id']}"
    return [p for p in resources(made, "Provenance") if url in {target["reference"] for target in p["target"]}]


def sources(provenance: Json) -> set[str]:
    """What a Provenance leads to: IRIs, paths in the record, and references to resources."""
    whats = [entity["what"] for entity in provenance["entity"]]
    return {what.get("reference") or what["identifier"]["value"] for what in whats}


def unresolved(made: Json, outside: set[str]) -> set[str]:
    """References that lead to nothing in the bundle, and not to what is known outside of it."""
    found = {p["reference"] for p in walk(made) if "reference" in p and p.keys() <= {"reference", "type", "display"}}
    return found - by_url(made).keys() - outside


# ---- valid -----------------------------------------------------------------------------------------


def test_r4b_reads_every_bundle_and_gives_it_back_unchanged(bundles: dict[str, Json]) -> None:
    for name, made in bundles.items():
        assert json.loads(Bundle.model_validate(made).model_dump_json()) == made, name


def test_r4b_reads_the_guidelines_and_gives_them_back_unchanged(guidelines: dict[str, Json]) -> None:
    assert len(guidelines) == 2
    for name, made in guidelines.items():
        assert json.loads(Bundle.model_validate(made).model_dump_json()) == made, name


def test_r4b_finds_a_seeded_defect(conflict: Json) -> None:
    defect = copy.deepcopy(conflict)
    del resources(defect, "MedicationRequest")[0]["subject"]
    with pytest.raises(ValidationError, match="subject"):
        Bundle.model_validate(defect)


def node(*made: Json) -> list[list[Json]]:
    """What npm `fhir` has against each bundle; its warnings and infos are on value sets that it does not have."""
    lines = "".join(json.dumps(one) + "\n" for one in made)
    run = ["node", str(NODE / "validate.js")]
    out = subprocess.run(run, input=lines, capture_output=True, text=True, encoding="utf-8", check=True)
    found = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(found) == len(made)
    assert {m["severity"] for messages in found for m in messages} <= {"info", "warning", "error", "fatal"}
    return [[m for m in messages if m["severity"] in ("error", "fatal")] for messages in found]


@needs_node
def test_node_finds_no_error(bundles: dict[str, Json], guidelines: dict[str, Json]) -> None:
    every = bundles | guidelines
    found = dict(zip(every, node(*every.values()), strict=True))
    assert {name: messages for name, messages in found.items() if messages} == {}


def seed(type_: str, change: Callable[[Json], None]) -> Callable[[Json], None]:
    def seeded(made: Json) -> None:
        change(resources(made, type_)[0])

    return seeded


def in_conflict(change: Callable[[Json], None]) -> Callable[[Json], None]:
    """A change of the action that holds the sides of the conflict."""

    def seeded(made: Json) -> None:
        (group,) = (g for g in resources(made, "RequestGroup") if code(g, "code") == "MaintenanceTreatment")
        change(group["action"][0])

    return seeded


BINDINGS: dict[str, Callable[[Json], None]] = {
    "GuidanceResponse.status": seed("GuidanceResponse", lambda r: r.update(status="done")),
    "RequestGroup.intent": seed("RequestGroup", lambda r: r.update(intent="suggestion")),
    "RequestGroup.action[0].selectionBehavior": in_conflict(lambda a: a.update(selectionBehavior="none")),
    "MedicationRequest.status": seed("MedicationRequest", lambda r: r.update(status="proposed")),
    "MedicationRequest.dosageInstruction[0].timing.repeat.periodUnit": seed(
        "MedicationRequest", lambda r: r["dosageInstruction"][0]["timing"]["repeat"].update(periodUnit="month")
    ),
    "DetectedIssue.status": seed("DetectedIssue", lambda r: r.update(status="draft")),
    "Provenance.entity[0].role": seed("Provenance", lambda r: r["entity"][0].update(role="passage")),
    "GuidanceResponse.result": seed("GuidanceResponse", lambda r: r["result"].update(type="Appointment")),
    # An element of R5.
    "ServiceRequest.focus": seed("ServiceRequest", lambda r: r.update(focus=[])),
}


@needs_node
@pytest.mark.parametrize("place", BINDINGS)
def test_node_finds_a_seeded_wrong_binding_or_element(conflict: Json, place: str) -> None:
    defect = copy.deepcopy(conflict)
    BINDINGS[place](defect)
    (messages,) = node(defect)
    assert {message["location"] for message in messages} == {place}


# ---- each status -----------------------------------------------------------------------------------

# The status of the response, and whether there is a result.
COMES_TO: dict[Status, tuple[str, bool]] = {
    "recommended": ("success", True),
    "choice": ("success", True),
    "conflict": ("success", True),
    "undetermined": ("data-required", False),
    "not-applicable": ("success", False),
}


def test_each_status_gives_its_resources(answers: dict[str, Recommendation], bundles: dict[str, Json]) -> None:
    seen = dict.fromkeys(COMES_TO, 0)
    for name, answer in answers.items():
        made = bundles[name]
        assert len(resources(made, "GuidanceResponse")) == len(answer.decisions)
        for decision, found in answer.decisions.items():
            response, group = response_of(made, decision), group_of(made, decision)
            assert (response["status"], group is not None) == COMES_TO[found.status], (name, decision)
            assert response["meta"]["tag"][1]["code"] == f"outcome-{found.status}"
            required = [requirement["id"] for requirement in response.get("dataRequirement", [])]
            assert required == list(found.missing), (name, decision)
            seen[found.status] += 1
            if group is None:
                continue
            outcome = found.outcome
            standings = {"recommended": outcome.recommended, "alternative": outcome.alternatives}
            standings["conflicting"] = outcome.conflicting
            offers = answer.guideline.offers
            expected = {(offers[o].label, standing) for standing, names in standings.items() for o in names}
            shown = [(option["title"], option["code"][0]["text"]) for option in options(group)]
            assert len(shown) == len(expected)
            assert set(shown) == expected, (name, decision)
            assert group["instantiatesCanonical"] == [f"{answer.guideline.iri}|{answer.guideline.version}"]
    assert min(seen.values()) > 1, seen


def test_silence_of_the_source_is_said_where_it_is_or_may_be_silent(executable: ExecutableGuideline) -> None:
    guideline, rows = executable.content, {}
    for name, table in executable.compiled.tables.decisions.items():
        for row, verdict in table.rows():
            if verdict.outcome.status == "not-applicable":
                rows[name, verdict.outcome.source_silent, verdict.outcome.may_be_silent] = table.known(row)
    assert {(silent, may_be) for _, silent, may_be in rows} == {(True, True), (False, True), (False, False)}
    for (name, silent, may_be), known in rows.items():
        words = response_of(executable.recommend(example(guideline, known)).to_fhir(), name)["note"][0]["text"]
        told = guideline.decisions[name].when_silent
        if silent and told:
            assert words.startswith(told)
        else:
            assert words.startswith("No rule of the source applies.")
            assert ("the source is silent, which is no advice" in words) == (silent or may_be)
    assert any(silent and guideline.decisions[name].when_silent for name, silent, _ in rows)
    assert any(silent and not guideline.decisions[name].when_silent for name, silent, _ in rows)


def test_what_is_proposed_is_a_draft_of_a_known_offer(
    answers: dict[str, Recommendation], bundles: dict[str, Json]
) -> None:
    kinds = dict.fromkeys(("Regimen", "Preparation", "Action"), 0)
    for name, made in bundles.items():
        offers = {offer.iri: offer for offer in answers[name].guideline.offers.values()}
        proposed = [r for r in resources(made) if r["resourceType"] in ("MedicationRequest", "ServiceRequest")]
        reached = {
            leaf["resource"]["reference"]
            for group in resources(made, "RequestGroup")
            for action in group["action"]
            for leaf in leaves(action)
        }
        assert reached == {f"urn:uuid:{resource['id']}" for resource in proposed}
        for resource in proposed:
            assert (resource["status"], resource["intent"]) == ("draft", "proposal")
            (canonical,) = resource["instantiatesCanonical"]
            iri, _, version = canonical.partition("|")
            assert version == answers[name].guideline.version
            offer = offers[iri]
            kinds[offer.kind] += 1
            assert (resource["resourceType"] == "ServiceRequest") == (offer.kind == "Action")
            assert ("dosageInstruction" in resource) == (offer.kind == "Regimen")
            assert "doNotPerform" not in resource  # what is not to be done is in the code: twice would be the reverse
    assert min(kinds.values()) > 10, kinds


def test_of_several_options_none_is_chosen(answers: dict[str, Recommendation], bundles: dict[str, Json]) -> None:
    conflicts = several = with_alternative = 0
    for name, made in bundles.items():
        for decision, found in answers[name].decisions.items():
            group = group_of(made, decision)
            if group is None:
                continue
            count = len({*found.recommended, *found.outcome.conflicting, *found.outcome.alternatives})
            (top,) = group["action"]
            if count == 1:
                assert found.status in ("recommended", "choice")
                continue
            several += 1
            assert "resource" not in top
            assert len(top["action"]) == count
            assert top["selectionBehavior"] == ("at-most-one" if found.status == "conflict" else "exactly-one")
            if found.status != "conflict":
                continue
            conflicts += 1
            assert {option["code"][0]["text"] for option in top["action"]} <= {"conflicting", "alternative"}
            issues = [r for r in resources(made, "DetectedIssue") if r["code"]["text"].startswith("conflict")]
            proposals = {leaf["resource"]["reference"] for leaf in leaves(top)}
            # An alternative is no side of the conflict.
            sided = [option for option in top["action"] if option["code"][0]["text"] == "conflicting"]
            implicated = {leaf["resource"]["reference"] for option in sided for leaf in leaves(option)}
            (issue,) = (i for i in issues if {part.get("reference") for part in i["implicated"]} == implicated)
            with_alternative += implicated != proposals
            sides = found.outcome.conflicting
            assert len(sides) > 1
            assert all(answers[name].guideline.offers[side].label in issue["detail"] for side in sides)
            for url in proposals:
                assert "contradicts itself" in by_url(made)[url]["note"][0]["text"]
    assert conflicts > 5
    assert with_alternative > 0
    assert several > conflicts


def test_no_order_of_the_options_but_that_of_their_names(bundles: dict[str, Json]) -> None:
    compared = 0
    for made in bundles.values():
        for group in resources(made, "RequestGroup"):
            urls = [leaves(option)[0]["resource"]["reference"] for option in options(group)]
            names = [by_url(made)[url]["instantiatesCanonical"][0].partition("|")[0].rpartition("/")[2] for url in urls]
            assert names == sorted(names)
            compared += len(names) > 1
    assert compared > 10


def test_alerts_are_detected_issues(answers: dict[str, Recommendation], bundles: dict[str, Json]) -> None:
    certainties = {"certain": 0, "possible": 0}
    for name, answer in answers.items():
        issues = [r for r in resources(bundles[name], "DetectedIssue") if "alert" in r["code"]["text"]]
        assert len(issues) == len(answer.alerts), name
        for issue, alert in zip(issues, answer.alerts, strict=True):
            certainties[alert.certainty] += 1
            assert issue["code"]["text"].startswith("alert" if alert.certainty == "certain" else "possible alert")
            assert all(answer.guideline.label_of(feature) in issue["detail"] for feature in alert.missing)
            assert issue["implicated"], "the entry that raises it"
            (provenance,) = provenance_of(bundles[name], issue)
            rule = answer.guideline.rules[alert.rule]
            assert {answer.guideline.passages[s.passage].iri for s in rule.support} <= sources(provenance)
    assert min(certainties.values()) > 0, certainties


def test_what_the_source_is_silent_on_is_said_with_every_response(executable: ExecutableGuideline) -> None:
    stated: Json = {"id": "p", "asOf": "2026-01-15", "present": ["PerniciousAnemia"]}
    assert resources(bundle(executable.recommend(stated)), "OperationOutcome") == []
    made = bundle(executable.recommend(stated | {"outsideSource": ["Pregnancy"]}))
    (outcome,) = resources(made, "OperationOutcome")
    (issue,) = outcome["issue"]
    label = executable.content.circumstances["Pregnancy"].label
    assert label in issue["diagnostics"]
    told = [response["evaluationMessage"] for response in resources(made, "GuidanceResponse")]
    assert told == [[{"reference": f"urn:uuid:{outcome['id']}", "type": "OperationOutcome"}]] * len(
        executable.content.decisions
    )


def test_decisive_facts_are_asked_for_by_their_codes(executable: ExecutableGuideline) -> None:
    made = bundle(executable.recommend({"id": "p", "asOf": "2026-01-15"}))
    asked = {
        r["id"]: r for response in resources(made, "GuidanceResponse") for r in response.get("dataRequirement", [])
    }
    assert asked["jurisdiction"] == {"id": "jurisdiction", "type": "Patient", "mustSupport": ["address.country"]}
    # No code is as wide as this, or narrower: it is nothing that is diagnosed by a code.
    assert asked["NeurologicalInvolvement"]["type"] == "Observation"
    assert len(asked["NeurologicalInvolvement"]["codeFilter"][0]["code"]) == 1
    anemia = asked["PerniciousAnemia"]
    (wanted,) = anemia["codeFilter"]
    assert (anemia["type"], wanted["path"]) == ("Condition", "code")
    assert wanted["code"][0]["code"] == "PerniciousAnemia"
    assert ("http://snomed.info/sct", "84027009") in {(c["system"], c["code"]) for c in wanted["code"]}
    assert asked["Homocysteine"]["type"] == "Observation"
    assert "13965-9" in {c["code"] for c in asked["Homocysteine"]["codeFilter"][0]["code"]}
    started = asked["B12TreatmentStarted"]
    assert (started["type"], started["codeFilter"][0]["path"]) == ("MedicationStatement", "medication")
    # A code that covers more than the deficiency, or merely hints at it, is not asked for.
    assert "E53.8" not in {c["code"] for c in asked["VitaminB12Deficiency"]["codeFilter"][0]["code"]}


# ---- doses and timings -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def proposals(answers: dict[str, Recommendation], bundles: dict[str, Json]) -> dict[str, list[Json]]:
    """The proposals of each offer in one of the bundles, by the offer's name."""
    found: dict[str, list[Json]] = {}
    for made in bundles.values():
        here: dict[str, list[Json]] = {}
        for group in resources(made, "RequestGroup"):
            for option in options(group):
                requests = [by_url(made)[leaf["resource"]["reference"]] for leaf in leaves(option)]
                name = requests[0]["instantiatesCanonical"][0].partition("|")[0].rpartition("/")[2]
                here[name] = requests
        found |= here
    return found


def ucum(value: float, unit: str) -> Json:
    return {"value": value, "unit": unit, "system": UCUM, "code": unit}


MG = [{"doseQuantity": ucum(1, "mg")}]
REPEATS: dict[str, tuple[Json, list[Json] | None]] = {
    "im-1mg-3-per-week-2-weeks": (
        {"frequency": 3, "period": 1, "periodUnit": "wk", "boundsDuration": ucum(2, "wk")},
        MG,
    ),
    "im-1mg-alternate-days-until-no-further-improvement": ({"frequency": 1, "period": 2, "periodUnit": "d"}, MG),
    "im-1mg-every-2-3-months-lifelong": ({"frequency": 1, "period": 2, "periodMax": 3, "periodUnit": "mo"}, MG),
    "im-1mg-every-2-months": ({"frequency": 1, "period": 2, "periodUnit": "mo"}, MG),
    "injection-monthly-lifelong": ({"frequency": 1, "period": 1, "periodUnit": "mo"}, None),
    "im-1mg-monthly-lifelong": ({"frequency": 1, "period": 1, "periodUnit": "mo"}, MG),
    "im-1mg-every-3-months": ({"frequency": 1, "period": 3, "periodUnit": "mo"}, MG),
    "oral-1mg-daily": ({"frequency": 1, "period": 1, "periodUnit": "d"}, MG),
    "oral-1-2mg-daily": (
        {"frequency": 1, "period": 1, "periodUnit": "d"},
        [{"doseRange": {"low": ucum(1, "mg"), "high": ucum(2, "mg")}}],
    ),
}


@pytest.mark.parametrize("offer", REPEATS)
def test_a_regimen_is_a_dosage(guideline: Guideline, proposals: dict[str, list[Json]], offer: str) -> None:
    (request,) = proposals[offer]
    (dosage,) = request["dosageInstruction"]
    repeat, dose = REPEATS[offer]
    assert dosage["timing"]["repeat"] == repeat
    assert dosage.get("doseAndRate") == dose
    for component in guideline.offers[offer].components:
        if component.kind != "preparation":
            assert (component.text or f"{component.kind} not stated by the source") in dosage["text"]
    conditions = [c.text for c in guideline.offers[offer].components if c.kind in ("until", "start", "precondition")]
    assert [{"text": text} for text in conditions] == dosage.get("additionalInstruction", [])


def test_every_regimen_is_looked_at(guideline: Guideline) -> None:
    assert REPEATS.keys() == {name for name, offer in guideline.offers.items() if offer.kind == "Regimen"}


def test_routes_and_preparations_have_a_code_where_one_is_as_wide(proposals: dict[str, list[Json]]) -> None:
    def route(offer: str) -> Json:
        found: Json = proposals[offer][0]["dosageInstruction"][0]["route"]
        return found

    assert route("im-1mg-every-2-months")["coding"][0]["code"] == "78421000"
    assert route("oral-1mg-daily")["coding"][0]["code"] == "26643006"
    assert route("injection-monthly-lifelong") == {"text": "by injection"}
    medication = {offer: proposals[offer][0]["medicationCodeableConcept"] for offer in proposals if "cobal" in offer}
    assert {c["code"] for c in medication["hydroxocobalamin"]["coding"]} == {"B03BA03", "5514"}
    # One terminology names it by the vitamin: that is no exact match, and is left out.
    assert {c["code"] for c in medication["cyanocobalamin"]["coding"]} == {"B03BA01"}
    # Where the source states no preparation, it is vitamin B12 in any form.
    regimen = proposals["oral-1mg-daily"][0]["medicationCodeableConcept"]
    assert {c["code"] for c in regimen["coding"]} == {"B03BA", "11248"}
    assert "not stated" in regimen["text"]


def test_monitoring_is_timed(proposals: dict[str, list[Json]]) -> None:
    def times(offer: str) -> list[Json]:
        return [request.get("occurrenceTiming", {}).get("repeat", {}) for request in proposals[offer]]

    daily = {"frequency": 1, "period": 1, "periodUnit": "d", "boundsDuration": ucum(3, "d")}
    assert times("hematocrit-reticulocytes-days-5-7-then-until-normal") == [daily, {}]
    first = proposals["hematocrit-reticulocytes-days-5-7-then-until-normal"][0]
    assert "days 5 to 7" in first["occurrenceTiming"]["code"]["text"]
    assert times("potassium-first-48-hours") == [{"boundsDuration": ucum(48, "h")}]
    assert times("review-every-3-months-until-stable-then-yearly") == [
        {"frequency": 1, "period": 3, "periodUnit": "mo"},
        {"frequency": 1, "period": 1, "periodUnit": "a"},
    ]
    assert times("measure-serum-b12-and-total-homocysteine") == [{}]
    assert [r["code"]["text"][:6] for r in proposals["withhold-folic-acid-until-b12-treated"]] == ["Do not"]


# Systems of FHIR itself, and ours.
OWN = (B12.removesuffix("/"), "https://example.org/", "http://terminology.hl7.org/", UCUM)


def test_every_code_of_a_terminology_is_in_the_mapping(bundles: dict[str, Json], guidelines: dict[str, Json]) -> None:
    known = {key for key, matches in load_codes().matches.items() if any(match.establishes for match in matches)}
    used = {
        (part["system"], part["code"])
        for made in (*bundles.values(), *guidelines.values())
        for part in walk(made)
        if "system" in part and "code" in part and not part["system"].startswith(OWN)
    }
    assert len(used) > 10
    assert used <= known


def test_every_term_of_ours_is_declared(
    bundles: dict[str, Json], guidelines: dict[str, Json], guideline: Guideline
) -> None:
    declared = {str(subject) for subject in guideline.graph().subjects()}
    parts = [part for made in (*bundles.values(), guidelines[guideline.id]) for part in walk(made)]
    ours = [part for part in parts if str(part.get("system")).startswith(B12.removesuffix("/"))]
    codes = {f"{part['system']}/{part['code']}" for part in ours if "code" in part}
    systems = {part["system"] for part in ours if "value" in part}
    assert len(codes) > 20
    assert systems == {B12 + "recordDigest", B12 + "path", B12 + "guidelineDigest"}
    assert codes | systems <= declared


# ---- where it comes from ---------------------------------------------------------------------------


def test_provenance_leads_to_each_passage_and_each_fact(
    answers: dict[str, Recommendation], bundles: dict[str, Json]
) -> None:
    reached: set[str] = set()
    for name, answer in answers.items():
        made, passages = bundles[name], answer.guideline.passages
        for decision, found in answer.decisions.items():
            (provenance,) = provenance_of(made, response_of(made, decision))
            behind = {p for f in found.rules if f.state != "excluded" for p in f.passages}
            behind |= {p for a in found.arguments if a.state != "excluded" for p in a.argument.passages}
            iris = {passages[p].iri for p in behind}
            facts = {f.of if isinstance(f.entry, str) else f.entry.path for r in found.rules for f in r.because}
            assert iris | facts <= sources(provenance), (name, decision)
            others = {passage.iri for passage in passages.values()} - iris
            assert not others & sources(provenance), "what is behind nothing here"
            reached |= behind
    assert reached >= answers["conflict.json"].guideline.passages.keys()


def test_what_is_said_of_the_record_is_told_by_its_weight(executable: ExecutableGuideline) -> None:
    answer = executable.recommend(
        {
            "id": "urn:example:p",
            "asOf": "2026-01-15",
            "present": [{"of": "PerniciousAnemia", "on": "2025-01-01"}],
            "measurements": [
                {"of": "Hematocrit", "value": 31, "unit": "%", "on": "2026-01-10"},
                {"of": "Hematocrit", "value": 29, "unit": "%", "on": "2025-01-10"},
                {"of": "DistalIleumResected", "value": 900, "unit": "cm"},
            ],
            "outsideSource": ["Pregnancy"],
        }
    )
    (outcome,) = resources(answer.to_fhir(), "OperationOutcome")
    told = [(issue["severity"], issue["code"]) for issue in outcome["issue"]]
    expected = [("warning", "not-supported")] * len(answer.notices) + [("warning", "value")] * len(answer.warnings)
    expected += [("information", "informational")] * len(answer.unused)
    assert told == expected
    assert (len(answer.notices), len(answer.warnings), len(answer.unused) > 0) == (1, 1, True)
    words = " ".join(issue["diagnostics"] for issue in outcome["issue"])
    paths = [n.path for n in answer.notices] + [w.path for w in answer.warnings] + [u.path for u in answer.unused]
    assert all(path in words for path in paths)


def test_notes_say_alternatives_conditions_and_what_is_not_stated(
    answers: dict[str, Recommendation], bundles: dict[str, Json]
) -> None:
    seen = dict.fromkeys(("alternatives", "possible", "condition", "unstated", "alone"), 0)
    for name, answer in answers.items():
        made, offers = bundles[name], answer.guideline.offers
        for decision, found in answer.decisions.items():
            words = response_of(made, decision)["note"][0]["text"]
            for key, intro, names in (
                ("alternatives", "May be taken instead: ", found.outcome.alternatives),
                ("possible", "By what is unknown, perhaps also: ", found.outcome.possible_alternatives),
            ):
                said = intro + "; ".join(offers[o].label for o in names)
                assert (said in words) == bool(names), (name, decision)
                seen[key] += bool(names)
        urls = {f"{offer.iri}|{answer.guideline.version}": offer for offer in offers.values()}
        for resource in (*resources(made, "MedicationRequest"), *resources(made, "ServiceRequest")):
            offer = urls[resource["instantiatesCanonical"][0]]
            notes = " ".join(note["text"] for note in resource["note"])
            kinds = ("precondition", "start", "until")
            conditions = [c.text for c in offer.components if c.kind in kinds and c.text is not None]
            unstated = [c.kind for c in offer.components if c.text is None]
            assert all(text in notes for text in conditions)
            assert (f"Not stated by the source: {', '.join(unstated)}." in notes) == bool(unstated)
            assert ("The medication alone" in notes) == (offer.kind == "Preparation")
            seen["condition"] += bool(conditions)
            seen["unstated"] += bool(unstated)
            seen["alone"] += offer.kind == "Preparation"
    assert min(seen.values()) > 0, seen


def test_a_conflict_names_the_rules_that_apply_and_no_other(
    answers: dict[str, Recommendation], bundles: dict[str, Json]
) -> None:
    checked = 0
    for name, answer in answers.items():
        issues = [i for i in resources(bundles[name], "DetectedIssue") if i["code"]["text"].startswith("conflict")]
        conflicts = [found for found in answer.decisions.values() if found.status == "conflict"]
        assert len(issues) == len(conflicts)
        for issue, found in zip(issues, conflicts, strict=True):
            for rule in found.rules:
                side = rule.state == "applies" and {*rule.rule.offers} & {*found.outcome.conflicting}
                assert (f"{rule.rule.label} ({rule.rule.modality})" in issue["detail"]) == bool(side), name
                checked += 1
    assert checked > 10


def test_each_proposal_leads_to_the_passages_of_its_offer(
    answers: dict[str, Recommendation], bundles: dict[str, Json]
) -> None:
    checked = 0
    for name, made in bundles.items():
        guideline = answers[name].guideline
        offers = {f"{offer.iri}|{guideline.version}": offer for offer in guideline.offers.values()}
        for resource in (*resources(made, "MedicationRequest"), *resources(made, "ServiceRequest")):
            (provenance,) = provenance_of(made, resource)
            offer = offers[resource["instantiatesCanonical"][0]]
            assert {guideline.passages[p].iri for p in offer.passages} <= sources(provenance)
            rules = [
                rule
                for rule in guideline.rules.values()
                if {offer.id, *guideline.refined_by(offer.id)} & {*rule.offers}
            ]
            of_rules = {guideline.passages[s.passage].iri for rule in rules for s in rule.support}
            assert of_rules & sources(provenance), "a rule that speaks for it"
            states = {f.rule.name: f for d in answers[name].decisions.values() for f in d.rules}
            followed = {rule.name for rule in rules if states[rule.name].state in ("applies", "unknown")}
            behind = {p for rule in followed for p in states[rule].passages} | {*offer.passages}
            allowed = {guideline.passages[p].iri for p in behind}
            passages = {passage.iri for passage in guideline.passages.values()}
            assert sources(provenance) & passages <= allowed, "only what speaks for it"
            checked += 1
    assert checked > 100


def test_provenance_names_the_resources_that_a_record_was_read_from(executable: ExecutableGuideline) -> None:
    patient = {"reference": "Patient/p7"}

    def coded(type_: str, id_: str, key: str, system: str, code: str, **more: Any) -> Json:
        return {
            "resourceType": type_,
            "id": id_,
            "subject": patient,
            key: {"coding": [{"system": system, "code": code}]},
            **more,
        }

    sct, atc = "http://snomed.info/sct", "http://www.whocc.no/atc"
    given = [
        {"resourceType": "Patient", "id": "p7", "birthDate": "1950-02-03"},
        coded("Condition", "c1", "code", sct, "84027009"),
        coded("MedicationRequest", "m1", "medicationCodeableConcept", atc, "B03BB01", status="active", intent="order"),
    ]
    sent = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": resource} for resource in given]}
    answer = executable.recommend(sent, format="fhir", as_of=date(2026, 1, 15))
    made = bundle(answer)
    (provenance,) = provenance_of(made, response_of(made, "PotassiumMonitoring"))
    assert "Condition/c1" in sources(provenance)
    assert {r["subject"]["reference"] for r in resources(made, "MedicationRequest")} <= {"Patient/p7"}
    assert {r["subject"]["reference"] for r in resources(made, "GuidanceResponse")} == {"Patient/p7"}
    (alert,) = resources(made, "DetectedIssue")
    assert [part["reference"] for part in alert["implicated"]] == ["MedicationRequest/m1"]
    (behind,) = provenance_of(made, alert)
    assert "MedicationRequest/m1" in sources(behind)
    assert unresolved(made, {"Patient/p7", "Condition/c1", "MedicationRequest/m1"}) == set()
    assert "1950" not in json.dumps(made)


def test_a_source_that_only_looks_like_a_resource_is_no_reference(executable: ExecutableGuideline) -> None:
    entry = {"of": "PerniciousAnemia", "source": "Letter/5"}
    made = bundle(executable.recommend({"id": "Patient", "asOf": "2026-01-15", "present": [entry]}))
    (provenance,) = provenance_of(made, response_of(made, "PotassiumMonitoring"))
    assert "present[0]" in sources(provenance)
    assert unresolved(made, set()) == set()


def test_references_lead_to_resources_of_the_bundle(bundles: dict[str, Json], conflict: Json) -> None:
    assert {name: missing for name, made in bundles.items() if (missing := unresolved(made, set()))} == {}
    defect = copy.deepcopy(conflict)
    del defect["entry"][1]
    assert unresolved(defect, set()) == {conflict["entry"][1]["fullUrl"]}


# ---- what every output carries, and what none does -------------------------------------------------


def unmarked(made: Json, guideline: Guideline) -> list[str]:
    """The resources that lack the review status or the disclaimer, in their narrative or as a tag."""
    bad = [] if guideline.disclaimer in json.dumps(made["meta"]) else ["Bundle"]
    for resource in resources(made):
        tagged = [tag.get("display") for tag in resource["meta"]["tag"]]
        div = resource["text"]["div"]
        if (
            guideline.review_status not in tagged
            or guideline.review_status not in div
            or guideline.disclaimer not in div
        ):
            bad.append(resource["resourceType"])
    return bad


def test_every_resource_carries_the_review_status_and_the_disclaimer(
    answers: dict[str, Recommendation], bundles: dict[str, Json], conflict: Json, guideline: Guideline
) -> None:
    for name, made in bundles.items():
        assert unmarked(made, answers[name].guideline) == []
        for resource in resources(made):
            if "note" in resource:
                assert answers[name].guideline.disclaimer in resource["note"][-1]["text"]
    defect = copy.deepcopy(conflict)
    resources(defect)[2]["text"]["div"] = "<div/>"
    assert unmarked(defect, guideline) == [resources(conflict)[2]["resourceType"]]


def test_the_guideline_carries_them_too(guidelines: dict[str, Json], second: ExecutableGuideline) -> None:
    shipped = b12kg.load().content
    for known in (shipped, second.content):
        assert unmarked(guidelines[known.id], known) == []


def test_what_a_record_says_cannot_become_markup(executable: ExecutableGuideline) -> None:
    entry = {"of": "PerniciousAnemia", "source": "<b>x</b>\x07"}
    made = bundle(executable.recommend({"id": "<script>", "asOf": "2026-01-15", "present": [entry]}))
    assert not any(
        "<script" in resource["text"]["div"] or "<b>" in resource["text"]["div"] for resource in resources(made)
    )
    assert "\x07" not in "".join(str(value) for part in walk(made) for value in part.values())
    Bundle.model_validate(made)


def test_a_sign_in_a_title_does_not_become_markup(guideline: Guideline) -> None:
    div = marked(guideline, {"resourceType": "Library", "id": "x"}, "below < 35 & above")["text"]["div"]
    assert "below &lt; 35 &amp; above" in div


def test_nothing_of_the_record_beyond_what_is_needed(executable: ExecutableGuideline) -> None:
    record = {
        "id": "urn:example:lean",
        "asOf": "2026-01-15",
        "present": [{"of": "PerniciousAnemia", "on": "1987-06-05"}],
        "measurements": [
            {"of": "DistalIleumResected", "value": 31.25, "unit": "cm", "on": "1991-02-03"},
            {"of": "SerumB12", "value": 123.5, "unit": "pg/mL", "source": "a laboratory far away"},
            {"of": "Hematocrit", "value": 97.75, "unit": "%"},
        ],
        "treatments": [{"of": "B12Treatment", "status": "started", "startedOn": "2025-12-24"}],
    }
    answer = executable.recommend(record)
    assert answer.warnings, "one value is odd"
    text = json.dumps(bundle(answer))
    assert [
        found for found in ("1987", "1991", "31.25", "123.5", "far away", "97.75", "2025-12-24") if found in text
    ] == []
    assert "urn:example:lean" in text


# ---- the same each time ----------------------------------------------------------------------------

MAKES = """
import json, sys
import b12kg
from b12kg.export_fhir import guideline_bundle
from b12kg.recommendation.fhir import bundle
guideline = b12kg.load()
sys.stdout.write(json.dumps([bundle(guideline.recommend(sys.argv[1])), guideline_bundle(guideline.content)]))
"""


def test_the_same_record_gives_the_same_bytes_in_every_process() -> None:
    def run(seed: str) -> bytes:
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo" if seed == "1" else "UTC"}
        command = [sys.executable, "-c", MAKES, str(EXAMPLES / "conflict.json")]
        return subprocess.run(command, capture_output=True, check=True, env=environment, cwd=ROOT).stdout

    first = run("1")
    assert len(first) > 100_000
    assert first == run("2")


def test_both_engines_give_the_same_bundle(executable: ExecutableGuideline) -> None:
    made = [bundle(executable.recommend(EXAMPLES / "several-unknowns.json", engine=e)) for e in ("table", "reference")]
    assert made[0] == made[1]


def test_no_moment_but_that_of_the_record(bundles: dict[str, Json]) -> None:
    dated = re.compile(r"\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-][\d:]+))?")
    keys = {"occurrenceDateTime", "authoredOn", "identifiedDateTime", "occurredDateTime", "recorded", "date"}
    moments = {
        part[key]
        for name, made in bundles.items()
        if name.startswith("L")
        for part in walk(made)
        for key in part
        if isinstance(part[key], str) and dated.fullmatch(part[key]) and key in keys
    }
    assert moments == {"2026-01-15", "2026-01-15T00:00:00Z"}
    every = {key for made in bundles.values() for part in walk(made) for key in part}
    assert every & {"lastUpdated", "timestamp", "issued", "date"} == set()


def test_ids_say_what_a_resource_is_about(executable: ExecutableGuideline) -> None:
    record: Json = {"id": "p", "asOf": "2026-01-15", "present": ["PerniciousAnemia"]}
    ids = [
        {r["id"] for r in resources(bundle(executable.recommend(given)))} for given in (record, record | {"id": "q"})
    ]
    assert len(ids[0]) > 10
    assert ids[0].isdisjoint(ids[1])


# ---- the guideline ---------------------------------------------------------------------------------


def artifacts(part: Json) -> list[Json]:
    """The passages and citations of a resource or of an action of the plan."""
    found: list[Json] = part["documentation"] if "documentation" in part else part["relatedArtifact"]
    return found


def test_the_plan_has_every_decision_and_rule(guideline: Guideline, guidelines: dict[str, Json]) -> None:
    (plan,) = resources(guidelines[guideline.id], "PlanDefinition")
    assert (plan["url"], plan["version"], plan["status"]) == (guideline.iri, guideline.version, "draft")
    assert plan["experimental"] is True
    assert "goal" not in plan
    assert [action["id"] for action in plan["action"]] == list(guideline.decisions)
    offered = 0
    for action, decision in zip(plan["action"], guideline.decisions, strict=True):
        rules = guideline.rules_of(decision)
        assert [sub["id"] for sub in action["action"]] == [f"{decision}.{rule.name}" for rule in rules]
        for sub, rule in zip(action["action"], rules, strict=True):
            (condition,) = sub["condition"]
            phenotype = guideline.phenotypes[rule.phenotype]
            assert condition["expression"]["description"] == phenotype.label
            assert condition["expression"]["reference"] == phenotype.iri
            made = sub.get("action", [sub])
            canonicals = [f"{guideline.offers[offer].iri}|{guideline.version}" for offer in rule.offers]
            assert [one["definitionCanonical"] for one in made] == canonicals
            assert sub.get("selectionBehavior") == ("exactly-one" if len(rule.offers) > 1 else None)
            passages = {guideline.passages[s.passage].iri for s in rule.support}
            assert {a["url"] for a in artifacts(sub) if a["type"] == "derived-from"} == passages
            offered += len(made)
    assert offered > 20


def test_arguments_limits_and_gaps_are_said(guideline: Guideline, guidelines: dict[str, Json]) -> None:
    (plan,) = resources(guidelines[guideline.id], "PlanDefinition")
    described = {action["id"]: action["description"] for action in plan["action"]}
    about = [(name, argument) for name in guideline.decisions for argument in guideline.arguments_about(name)]
    assert len(about) > 5
    assert all(f"Argument: {argument.label}" in described[name] for name, argument in about)
    limited = [(rule, s) for rule in guideline.rules.values() for s in rule.support if s.only_for is not None]
    rules = {sub["id"].partition(".")[2]: sub for action in plan["action"] for sub in action["action"]}
    assert limited
    for rule, support in limited:
        assert support.only_for is not None
        words = f"{support.passage} only for {guideline.phenotypes[support.only_for].label}."
        assert words in rules[rule.name]["description"]
    activities = {r["url"]: r for r in resources(guidelines[guideline.id], "ActivityDefinition")}
    gaps = {o.iri: [c.kind for c in o.components if c.text is None] for o in guideline.offers.values()}
    assert any(gaps.values())
    for iri, kinds in gaps.items():
        said = f"Not stated by the source: {', '.join(kinds)}." in activities[iri]["description"]
        assert said == bool(kinds)


def test_overrides_and_alerts_are_said(guideline: Guideline, guidelines: dict[str, Json]) -> None:
    (plan,) = resources(guidelines[guideline.id], "PlanDefinition")
    rules = [sub for action in plan["action"] for sub in action["action"]]
    assert len(guideline.overrides) > 5
    for override in guideline.overrides:
        words = [r.get("description", "") for r in rules if r["id"].endswith(f".{override.preferred}")]
        assert any(f"rather than {override.over}: {override.basis}" in text for text in words)
    assert sum("Raises an alert" in rule.get("description", "") for rule in rules) == len(guideline.alerting) > 0


def test_each_offer_is_an_activity_definition(guideline: Guideline, guidelines: dict[str, Json]) -> None:
    activities = {r["url"]: r for r in resources(guidelines[guideline.id], "ActivityDefinition")}
    assert activities.keys() == {offer.iri for offer in guideline.offers.values()}
    for offer in guideline.offers.values():
        made = activities[offer.iri]
        assert (made["status"], made["experimental"], made["version"]) == ("draft", True, guideline.version)
        assert (made["intent"], made["kind"] == "ServiceRequest") == ("proposal", offer.kind == "Action")
        making = [rule for rule in guideline.rules.values() if offer.id in rule.offers]
        stating = set(offer.passages) or {support.passage for rule in making for support in rule.support}
        assert stating
        derived = {a["url"] for a in artifacts(made) if a["type"] == "derived-from"}
        assert derived == {guideline.passages[name].iri for name in stating}
        assert "doNotPerform" not in made
        timings = [part.text for part in offer.components if part.kind == "timing" and part.text is not None]
        said = sum(text in made["description"] for text in timings)
        assert said >= len(timings) or len(timings) == 1
        if offer.kind == "Action":
            assert ("timingTiming" in made) == (len(timings) == 1)
        if offer.id in REPEATS:
            assert made["dosage"][0]["timing"]["repeat"] == REPEATS[offer.id][0]


def test_citations_are_those_of_the_passages_and_the_document_is_named(
    guideline: Guideline, guidelines: dict[str, Json]
) -> None:
    (plan,) = resources(guidelines[guideline.id], "PlanDefinition")
    citations = [a for a in artifacts(plan) if a["type"] == "citation"]
    cited = {c for passage in guideline.passages.values() for c in passage.citations}
    markers = {(c.marker, None if c.reference is None else guideline.references[c.reference].iri) for c in cited}
    assert {(a["label"].strip("[]"), a.get("url")) for a in citations} == markers
    unresolved_ = [a for a in citations if "url" not in a]
    assert {a["label"] for a in unresolved_} == {"[6]", "[8]"}
    assert all("unresolved" in a["display"] for a in unresolved_)
    (document,) = (a for a in artifacts(plan) if a["type"] == "derived-from")
    assert document["url"] == guideline.document
    assert guideline.review_status in document["display"]


def test_the_library_holds_the_logic_byte_by_byte(guideline: Guideline, guidelines: dict[str, Json]) -> None:
    (library,) = resources(guidelines[guideline.id], "Library")
    files = {path.name: path for path in (*guideline.files, *(ROOT / "queries" / "decide").glob("*.rq"))}
    assert {content["title"] for content in library["content"]} == files.keys()
    assert sum(name.endswith(".rq") for name in files) > 0
    for content in library["content"]:
        data = base64.b64decode(content["data"])
        assert data == files[content["title"]].read_bytes()
        assert len(data) == content["size"]
    assert library["identifier"][0]["value"] == guideline.digest


def test_every_canonical_is_defined_in_the_bundle(
    answers: dict[str, Recommendation], bundles: dict[str, Json], guidelines: dict[str, Json]
) -> None:
    for id_, made in guidelines.items():
        defined = {f"{r['url']}|{r['version']}" for r in resources(made)}
        assert len(defined) == len(made["entry"])
        used = {part["definitionCanonical"] for part in walk(made) if "definitionCanonical" in part}
        used |= {url for part in walk(made) for url in part.get("library", [])}
        mine = [bundles[name] for name, answer in answers.items() if answer.guideline.id == id_]
        used |= {url for one in mine for part in walk(one) for url in part.get("instantiatesCanonical", [])}
        used |= {r["moduleCanonical"] for one in mine for r in resources(one, "GuidanceResponse")}
        assert used <= defined
        assert len(used) > 5


def test_names_for_machines_are_distinct(guidelines: dict[str, Json]) -> None:
    for made in guidelines.values():
        names = [resource["name"] for resource in resources(made)]
        assert len(names) == len(set(names)) > 5
        assert all(re.fullmatch(r"[A-Z][A-Za-z0-9_]{0,254}", name) for name in names)
