"""CDS Hooks: the invariants of the specification, what is missing, which cards there are, and orders."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("fhir.resources")

from fhir.resources.R4B import get_fhir_model_class
from starlette.types import ASGIApp

import b12kg
from b12kg.errors import UsageError
from b12kg.guideline import Guideline
from b12kg.recommend import ExecutableGuideline
from b12kg.runlog import FILE, append, append_feedback, check
from b12kg.service.api import FHIR, JSON
from b12kg.service.app import Settings, application
from b12kg.service.cds import HOOKS, override_reasons
from b12kg.service.orders import Difference, differences
from tests.asgi import Answered, ask
from tests.conftest import SECOND
from tests.fhir_resources import OWN, RXNORM, SNOMED, UCUM, Json, condition, observation, refuted

TODAY = date(2026, 1, 15)
AT = datetime(2026, 1, 15, 9, tzinfo=UTC)
INSTANCE = "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea"
PERNICIOUS, DEFICIENCY = condition("84027009", id="pa"), condition("190634004", id="d")
NO_SIGNS = refuted("NeurologicalInvolvement", id="n", system=OWN)
FOLIC_ACID, B12, METFORMIN = "4511", "11248", "6809"


@pytest.fixture(scope="module")
def app(executable: ExecutableGuideline) -> ASGIApp:
    return application(executable, Settings(today=lambda: TODAY))


@pytest.fixture(scope="module")
def service(app: ASGIApp) -> Json:
    found: Json = ask(app, "GET", "/cds-services").json()["services"][0]
    return found


def order(code: str, id: str | None = "o", **more: Any) -> Json:
    body = {
        "resourceType": "MedicationRequest",
        "status": "draft",
        "intent": "order",
        "subject": {"reference": "Patient/p"},
    }
    medicine = {"coding": [{"system": RXNORM, "code": code}]}
    return {**body, **({"id": id} if id else {}), "medicationCodeableConcept": medicine, **more}


def dosage(
    value: Any = 1,
    unit: str = "mg",
    route: str = "78421000",
    frequency: int | None = 3,
    period: Any = 1,
    per: str = "wk",
    **repeat: Any,
) -> Json:
    """A dosage; with the defaults, that of the initial course without neurological involvement."""
    quantity = {"value": value, "unit": unit, "code": unit, "system": UCUM}
    timing = {"repeat": {"frequency": frequency, "period": period, "periodUnit": per, **repeat}}
    coded = {"coding": [{"system": SNOMED, "code": route}]}
    return {"dosageInstruction": [{"route": coded, "timing": timing, "doseAndRate": [{"doseQuantity": quantity}]}]}


def as_needed(given: Json) -> Json:
    return {"dosageInstruction": [{**given["dosageInstruction"][0], "asNeededBoolean": True}]}


def call(service: Json, hook: str, *resources: Json, orders: list[Json] | None = None, **changes: Any) -> Json:
    """A call of a hook with everything prefetched."""
    prefetch: Json = dict.fromkeys(service["prefetch"])
    prefetch["patient"] = {"resourceType": "Patient", "id": "p"}
    for resource in resources:
        key = resource["resourceType"][0].lower() + resource["resourceType"][1:]
        prefetch[key] = prefetch[key] or {"resourceType": "Bundle", "type": "searchset", "entry": []}
        prefetch[key]["entry"].append({"resource": resource})
    context: Json = {"userId": "Practitioner/1", "patientId": "p"}
    if orders is not None:
        entries = [{"resource": one} for one in orders]
        context["draftOrders"] = {"resourceType": "Bundle", "type": "collection", "entry": entries}
        context["selections"] = [f"MedicationRequest/{one['id']}" for one in orders if "id" in one]
    return {"hook": hook, "hookInstance": INSTANCE, "context": context, "prefetch": prefetch, **changes}


def post(app: ASGIApp, form: Json, id: str = "droracle-2025") -> Answered:
    return ask(app, "POST", f"/cds-services/{id}", form)


def cards(app: ASGIApp, form: Json) -> list[Json]:
    found = post(app, form)
    assert (found.status, found.media) == (200, JSON), found.text
    conforms(found.json())
    made: list[Json] = found.json()["cards"]
    return made


def refused(app: ASGIApp, form: Json, status: int, id: str = "droracle-2025") -> list[str]:
    """The places that an OperationOutcome names."""
    found = post(app, form, id)
    assert (found.status, found.media) == (status, FHIR), found.text
    get_fhir_model_class("OperationOutcome").model_validate(found.json())
    return [place for issue in found.json()["issue"] for place in issue.get("expression", [""])]


# ---- the specification's invariants ------------------------------------------------------------------


def conforms(form: Json) -> None:
    """What the specification says of every response with cards."""
    assert form.keys() == {"cards"}
    for part in walk(form):
        assert part not in (None, "", {}) and (part != [] or part is form["cards"])  # noqa: PT018 - one rule
    ids = [part["uuid"] for part in walk(form) if isinstance(part, dict) and "uuid" in part]
    assert len(ids) == len(set(ids))
    for card in form["cards"]:
        assert uuid.UUID(card["uuid"])
        assert 0 < len(card["summary"]) < 140
        assert card["indicator"] in ("info", "warning", "critical")
        assert card["source"]["label"]
        assert card["source"]["topic"].keys() == {"system", "code", "display"}
        assert ("suggestions" in card) == ("selectionBehavior" in card)
        assert card.get("selectionBehavior", "at-most-one") in ("at-most-one", "any")
        for reason in card["overrideReasons"]:
            assert reason.keys() == {"system", "code", "display"}
        recommended = [s for s in card.get("suggestions", []) if s.get("isRecommended")]
        assert len(recommended) <= 1
        for suggestion in card.get("suggestions", []):
            assert suggestion["label"]
            for action in suggestion["actions"]:
                assert action["type"] == "create"
                assert action["description"]
                resource = action["resource"]
                assert (resource["status"], resource["intent"]) == ("draft", "proposal")
                assert resource["subject"] == {"reference": "Patient/p"}
                assert "urn:uuid" not in {str(r.get("reference"))[:8] for r in walk(resource) if isinstance(r, dict)}
                get_fhir_model_class(resource["resourceType"]).model_validate(resource)
        assert "no medical device" in card["detail"] or "Disclaimer" in card["detail"]


def walk(part: Any) -> Iterator[Any]:
    yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from walk(inner)


def test_the_check_of_the_invariants_can_fail(app: ASGIApp, service: Json) -> None:
    (good, *_) = cards(app, call(service, "patient-view", PERNICIOUS))
    for change in (
        {"summary": "x" * 140},
        {"indicator": "hard-stop"},
        {"source": {"label": ""}},
        {"uuid": "1"},
        {"detail": ""},
    ):
        with pytest.raises((AssertionError, ValueError, KeyError)):
            conforms({"cards": [{**good, **change}]})
    with pytest.raises(AssertionError):
        conforms({"cards": [good, good]})
    with pytest.raises(AssertionError):
        conforms({"cards": [{key: value for key, value in good.items() if key != "selectionBehavior"}]})


def test_discovery(app: ASGIApp, guideline: Guideline) -> None:
    found = ask(app, "GET", "/cds-services")
    assert (found.status, found.media) == (200, JSON)
    services = found.json()["services"]
    assert [s["hook"] for s in services] == [*HOOKS] == ["patient-view", "order-select", "order-sign"]
    for service in services:
        assert {"hook", "description", "id", "prefetch", "version", "hookVersion"} <= service.keys()
        assert service["id"] == guideline.id
        assert guideline.disclaimer in service["description"]
        for template in service["prefetch"].values():
            assert re.fullmatch(
                r"Patient/\{\{context\.patientId\}\}|[A-Z]\w+\?patient=\{\{context\.patientId\}\}", template
            )
    assert all(part not in (None, "", [], {}) for part in walk(services))


def test_a_call_is_answered_the_same_each_time_and_each_call_has_cards_of_its_own(app: ASGIApp, service: Json) -> None:
    form = call(service, "patient-view", PERNICIOUS, DEFICIENCY)
    first = post(app, form)
    assert post(app, form).body == first.body
    assert first.headers["cache-control"] == "no-store"
    other = post(app, {**form, "hookInstance": str(uuid.uuid4())}).json()["cards"]
    assert [c["summary"] for c in other] == [c["summary"] for c in first.json()["cards"]]
    assert not {c["uuid"] for c in other} & {c["uuid"] for c in first.json()["cards"]}


@pytest.mark.parametrize(
    ("change", "status", "place"),
    [
        ({"hook": "encounter-start"}, 400, "hook"),
        ({"hook": None}, 400, "hook"),
        ({"hookInstance": "1"}, 400, "hookInstance"),
        ({"hookInstance": None}, 400, "hookInstance"),
        ({"context": None}, 400, "context"),
        ({"context": {"userId": "x"}}, 400, "context.patientId"),
        ({"context": {"userId": "x", "patientId": "p/../q"}}, 400, "context.patientId"),
        ({"context": {"patientId": "p"}}, 400, "context.userId"),
        ({"context": {"userId": "x", "patientId": "other"}}, 422, "prefetch"),
        ({"prefetch": []}, 400, "prefetch"),
    ],
)
def test_a_call_that_is_none(app: ASGIApp, service: Json, change: Json, status: int, place: str) -> None:
    assert refused(app, call(service, "patient-view") | change, status) == [place]


def test_what_is_no_call_at_all(app: ASGIApp, service: Json) -> None:
    assert ask(app, "POST", "/cds-services/droracle-2025", b"{", content_type=JSON).status == 422
    assert ask(app, "POST", "/cds-services/droracle-2025", b"[]", content_type=JSON).status == 400
    assert ask(app, "POST", "/cds-services/droracle-2025", b"{}", content_type="text/plain").status == 415
    refused(app, call(service, "patient-view"), 404, id="nothing")
    assert ask(app, "GET", "/cds-services/droracle-2025").status == 405


def test_data_that_is_missing(app: ASGIApp, service: Json) -> None:
    """A key that is not there, one that the client could not fetch, or a next page: 412, and which of them."""
    form = call(service, "patient-view", PERNICIOUS)
    assert refused(app, {k: v for k, v in form.items() if k != "prefetch"}, 412) == [
        f"prefetch.{k}" for k in service["prefetch"]
    ]
    page = {**form["prefetch"]["condition"], "link": [{"relation": "next", "url": "https://ehr.example.org/2"}]}
    for key, value in (("condition", page), ("procedure", {"resourceType": "OperationOutcome"}), ("patient", None)):
        assert refused(app, {**form, "prefetch": {**form["prefetch"], key: value}}, 412) == [f"prefetch.{key}"]
    without = {k: v for k, v in form["prefetch"].items() if k != "observation"}
    assert refused(app, {**form, "prefetch": without}, 412) == ["prefetch.observation"]
    self_link = {**page, "link": [{"relation": "self", "url": "https://ehr.example.org/1"}]}
    assert cards(app, {**form, "prefetch": {**form["prefetch"], "condition": self_link}})


def test_addresses_of_a_server_are_the_same_patient(app: ASGIApp, service: Json) -> None:
    form = call(service, "patient-view", PERNICIOUS, DEFICIENCY)
    expected = summaries(cards(app, form))
    base = "https://ehr.example.org/fhir"
    for number, entry in enumerate(form["prefetch"]["condition"]["entry"]):
        entry["fullUrl"] = f"{base}/Condition/{entry['resource']['id']}"
        if number:
            entry["resource"] = {**entry["resource"], "subject": {"reference": f"{base}/Patient/p"}}
    assert summaries(cards(app, {**form, "fhirServer": base})) == expected != []


def test_data_that_is_wrong(app: ASGIApp, service: Json) -> None:
    form = call(service, "patient-view", PERNICIOUS)
    for key, value in (
        ("condition", {"resourceType": "Bundle", "entry": [{}]}),
        ("observation", {"x": 1}),
        ("procedure", []),
    ):
        (place,) = refused(app, {**form, "prefetch": {**form["prefetch"], key: value}}, 400)
        assert place.startswith(f"prefetch.{key}")
    bad = {**PERNICIOUS, "onsetDateTime": "yesterday"}
    places = refused(app, call(service, "patient-view", bad), 422)
    assert places == ["Bundle.entry[1].resource.onsetDateTime"]
    stranger = {**DEFICIENCY, "subject": {"reference": "Patient/q"}}
    refused(app, call(service, "patient-view", stranger), 422)


# ---- cards -----------------------------------------------------------------------------------------


def summaries(found: list[Json]) -> list[tuple[str, str]]:
    return [(card["indicator"], card["summary"]) for card in found]


def test_of_whom_nothing_is_known_nothing_is_said(app: ASGIApp, service: Json) -> None:
    assert cards(app, call(service, "patient-view")) == []


def test_view_of_a_patient(app: ASGIApp, service: Json, guideline: Guideline) -> None:
    found = cards(app, call(service, "patient-view", PERNICIOUS, NO_SIGNS))
    topics = [card["source"]["topic"]["code"] for card in found]
    assert {"InitialTreatment", "PotassiumMonitoring", "Assessment"} <= {*topics}
    initial = found[topics.index("InitialTreatment")]
    assert initial["indicator"] == "info"
    assert initial["summary"] == "Initial treatment: recommended: 1 mg intramuscularly 3 times weekly for 2 weeks"
    (suggestion,) = initial["suggestions"]
    (action,) = suggestion["actions"]
    assert suggestion["isRecommended"] is True
    assert action["resource"]["resourceType"] == "MedicationRequest"
    assert action["resource"]["dosageInstruction"][0]["doseAndRate"][0]["doseQuantity"]["value"] == 1
    assert initial["source"] == {
        "label": guideline.label,
        "url": guideline.document,
        "topic": {
            "system": "https://w3id.org/b12kg/droracle-2025",
            "code": "InitialTreatment",
            "display": "initial treatment",
        },
    }
    (open_,) = (card for card in found if card["summary"].startswith("Open, by what is unknown:"))
    assert "maintenance treatment" in open_["summary"]
    assert "suggestions" not in open_


def test_a_conflict_comes_first_and_recommends_neither(app: ASGIApp, service: Json) -> None:
    ileum = observation("DistalIleumResected", 35, "cm", system=OWN, id="i")
    signs = condition("NeurologicalInvolvement", id="n", system=OWN)
    others = [
        refuted(name, id=name, system=OWN) for name in ("PerniciousAnemia", "BariatricSurgery", "PrefersOralTreatment")
    ]
    found = cards(app, call(service, "patient-view", DEFICIENCY, signs, ileum, *others))
    first = found[0]
    assert first["indicator"] == "warning"
    assert first["summary"].startswith("Maintenance treatment: conflict:")
    assert len(first["suggestions"]) > 1
    assert not any("isRecommended" in suggestion for suggestion in first["suggestions"])


def test_folic_acid_before_the_vitamin(app: ASGIApp, service: Json) -> None:
    never = condition("B12TreatmentStarted", id="t", system=OWN)
    started = {
        "resourceType": "MedicationAdministration",
        "id": "a",
        "status": "completed",
        "subject": {"reference": "Patient/p"},
    }
    started |= {
        "effectiveDateTime": "2026-01-02",
        "medicationCodeableConcept": {"coding": [{"system": RXNORM, "code": B12}]},
    }
    draft = [order(FOLIC_ACID)]
    for hook in ("order-select", "order-sign"):
        possible = cards(app, call(service, hook, DEFICIENCY, orders=draft))
        assert [card["indicator"] for card in possible] == ["warning"]
        assert "Possible alert" in possible[0]["summary"]
        certain = cards(
            app, call(service, hook, DEFICIENCY, refuted("B12TreatmentStarted", id="t", system=OWN), orders=draft)
        )
        assert [card["indicator"] for card in certain] == ["critical"]
        assert certain[0]["source"]["topic"]["code"] == "FolicAcid"
        for begun in (never, started):
            assert cards(app, call(service, hook, DEFICIENCY, begun, orders=draft)) == []
        assert cards(app, call(service, hook, refuted("190634004", id="d"), orders=draft)) == []
        assert cards(app, call(service, hook, DEFICIENCY, orders=[order(METFORMIN)])) == []


def test_an_alert_that_the_order_does_not_bear_on_is_not_repeated(app: ASGIApp, service: Json) -> None:
    taken = order(FOLIC_ACID, id="m", status="active")
    never = refuted("B12TreatmentStarted", id="t", system=OWN)
    first, *_ = cards(app, call(service, "patient-view", DEFICIENCY, never, taken))
    assert first["indicator"] == "critical"
    assert cards(app, call(service, "order-sign", DEFICIENCY, never, taken, orders=[order(METFORMIN)])) == []
    again = cards(app, call(service, "order-sign", DEFICIENCY, never, taken, orders=[order(FOLIC_ACID)]))
    assert [c["indicator"] for c in again] == ["critical"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (dosage(), None),
        (dosage(1000, "ug"), None),
        (dosage(0.001, "g"), None),
        (dosage(frequency=3, period=7, per="d"), None),
        (dosage(100, "ug"), "dose differs: ordered 100 ug; the guideline: 1 mg"),
        (dosage(2), "dose differs: ordered 2 mg"),
        (
            dosage(route="26643006"),
            "route differs: ordered Oral route (qualifier value); the guideline: intramuscularly",
        ),
        (dosage(frequency=1), "interval differs: ordered 1 in 1 wk; the guideline: 3 times weekly"),
        (dosage(frequency=1, per="a"), "interval differs: ordered 1 in 1 a"),
    ],
)
def test_an_order_whose_dose_route_or_interval_differs(
    app: ASGIApp, service: Json, given: Json, expected: str | None
) -> None:
    """Against the initial course, in a patient of whom the maintenance is settled by another rule too."""
    for hook in ("order-select", "order-sign"):
        found = cards(app, call(service, hook, DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, orders=[order(B12, **given)]))
        if expected is None:
            assert found == []
            continue
        (card,) = found
        assert card["indicator"] == "warning"
        assert expected in card["detail"]
        assert card["summary"].startswith("Order o differs from what the guideline offers")
        assert card["suggestions"]


NOTHING_ELSE = [
    refuted(name, id=name, system=OWN)
    for name in ("PerniciousAnemia", "BariatricSurgery", "PrefersOralTreatment", "SevereVitaminB12Deficiency")
]
NOTHING_ELSE.append(observation("DistalIleumResected", 0, "cm", system=OWN, id="i"))


def test_an_order_for_maintenance_is_held_against_maintenance_too(app: ASGIApp, service: Json) -> None:
    standard = order(B12, **dosage(frequency=1, period=3, per="mo"))
    assert cards(app, call(service, "order-sign", DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, orders=[standard])) == []
    seldom = order(B12, **dosage(frequency=1, period=6, per="mo"))
    (card,) = cards(app, call(service, "order-sign", DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, orders=[seldom]))
    assert "interval differs: ordered 1 in 6 mo" in card["detail"]


def test_an_order_that_leaves_something_open(app: ASGIApp, service: Json) -> None:
    """It is said when it is signed, and never taken for the same; while it is being chosen, it is not complete yet."""
    for given in ({}, dosage(unit="mL"), dosage(route="1"), {"dosageInstruction": dosage()["dosageInstruction"] * 2}):
        form = [DEFICIENCY, NO_SIGNS, *NOTHING_ELSE]
        assert cards(app, call(service, "order-select", *form, orders=[order(B12, **given)])) == []
        (card,) = cards(app, call(service, "order-sign", *form, orders=[order(B12, **given)]))
        assert card["indicator"] == "info"
        assert "cannot be compared" in card["summary"]


def test_an_order_is_answered_however_it_is_written(app: ASGIApp, service: Json) -> None:
    """No way to write one leads past the alert without a word."""

    def asked_of(*drafts: Json) -> Json:
        return call(service, "order-sign", DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, orders=[*drafts])

    plain = order(FOLIC_ACID)
    wanted = [card["indicator"] for card in cards(app, asked_of(plain))]
    assert wanted
    assert "critical" in wanted or "warning" in wanted
    medicine = {"resourceType": "Medication", "id": "m", "code": plain["medicationCodeableConcept"]}
    by_reference = {key: value for key, value in plain.items() if key != "medicationCodeableConcept"}
    by_reference["medicationReference"] = {"reference": "Medication/m"}
    for drafts in (
        (by_reference, medicine),
        (medicine, by_reference),
        ({**plain, "authoredOn": "2026-01-16T06:50:00+13:00"},),
        ({**plain, "authoredOn": "2099-01-01"},),
        ({**plain, "status": "active"},),
        ({**plain, "status": "on-hold"},),
    ):
        assert [card["indicator"] for card in cards(app, asked_of(*drafts))] == wanted, drafts
    for subject in (None, {}, {"identifier": {"value": "p"}}, {"display": "x"}, "Patient/p"):
        assert refused(app, asked_of({**plain, "subject": subject}), 400) == [
            "context.draftOrders.entry[0].resource.subject"
        ]
    wrong = {**plain, "doNotPerform": "true"}
    assert refused(app, asked_of(wrong), 400) == ["context.draftOrders.entry[0].resource.doNotPerform"]
    ended = {**order(B12, **dosage(100, "ug")), "status": "stopped"}
    in_force = {**ended, "status": "active"}  # as the server still has it
    assert cards(app, call(service, "order-sign", DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, in_force, orders=[ended])) == []
    for status in ("stopped", "entered-in-error", "cancelled", "completed"):
        assert cards(app, asked_of({**order(B12, **dosage(100, "ug")), "status": status})) == []


def test_which_orders_are_looked_at(app: ASGIApp, service: Json) -> None:
    wrong = order(B12, **dosage(100, "ug"))
    form = call(
        service, "order-select", DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, orders=[wrong, order(B12, id="fine", **dosage())]
    )
    assert len(cards(app, form)) == 1
    form["context"]["selections"] = ["MedicationRequest/fine"]
    assert cards(app, form) == []
    for selections in (None, "o", [1]):
        form["context"]["selections"] = selections
        assert refused(app, form, 400) == ["context.selections"]
    signing = call(service, "order-sign", DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, orders=[{**wrong, "doNotPerform": True}])
    assert cards(app, signing) == []
    nameless = call(
        service, "order-sign", DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, orders=[order(B12, id=None, **dosage(2))]
    )
    assert [card["indicator"] for card in cards(app, nameless)] == ["warning"]
    del signing["context"]["draftOrders"]
    assert refused(app, signing, 400) == ["context.draftOrders"]


def test_a_draft_that_is_on_the_server_as_well_counts_once(app: ASGIApp, service: Json) -> None:
    draft = order(B12, **dosage(2))
    form = call(service, "order-sign", DEFICIENCY, NO_SIGNS, *NOTHING_ELSE, draft, orders=[order(B12, **dosage())])
    assert cards(app, form) == []


def test_another_guideline_has_cards_of_its_own(service: Json) -> None:
    app = application(b12kg.load(SECOND), Settings(today=lambda: TODAY))
    flu = condition("Flu", id="f", system="https://example.org/second")
    warm = observation("Temperature", 37, "Cel", system="https://example.org/second", id="t")
    found = post(app, call(service, "patient-view", flu, warm), id="second").json()["cards"]
    assert [card["summary"] for card in found] == ["Care: recommended: Sage tea"]


def test_of_a_choice_none_is_recommended_over_the_others(service: Json) -> None:
    app = application(b12kg.load(SECOND), Settings(today=lambda: TODAY))
    cold = condition("Cold", id="c", system="https://example.org/second")
    flu = refuted("Flu", id="f", system="https://example.org/second")
    warm = observation("Temperature", 37, "Cel", system="https://example.org/second", id="t")
    (card,) = post(app, call(service, "patient-view", cold, flu, warm), id="second").json()["cards"]
    assert card["summary"] == "Care: choice: Bed; Tea"
    assert [suggestion["label"] for suggestion in card["suggestions"]] == ["Bed", "Tea"]
    assert not any("isRecommended" in suggestion for suggestion in card["suggestions"])


# ---- orders, part by part ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "offer", "expected"),
    [
        (dosage(1, "mg", frequency=1, period=1, per="mo"), "im-1mg-monthly-lifelong", []),
        (dosage(1, "mg", frequency=1, period=2, per="mo"), "im-1mg-every-2-3-months-lifelong", []),
        (dosage(1, "mg", frequency=1, period=2, per="mo", periodMax=3), "im-1mg-every-2-3-months-lifelong", []),
        (
            dosage(1, "mg", frequency=1, period=2, per="mo", periodMax=4),
            "im-1mg-every-2-3-months-lifelong",
            ["interval differs"],
        ),
        (dosage(1, "mg", frequency=1, period=4, per="wk"), "im-1mg-monthly-lifelong", ["interval unclear"]),
        (dosage(1, "mg", frequency=1, period=1, per="wk"), "im-1mg-monthly-lifelong", ["interval differs"]),
        (
            dosage(1, "mg", frequency=1, period=1, per="d"),
            "injection-monthly-lifelong",
            ["interval differs", "route unclear"],
        ),
        (dosage(1.5, "mg", "26643006", frequency=1, per="d"), "oral-1-2mg-daily", []),
        (dosage(2.5, "mg", "26643006", frequency=1, per="d"), "oral-1-2mg-daily", ["dose differs"]),
        (dosage("1", "mg"), "im-1mg-3-per-week-2-weeks", ["dose unclear"]),
        (dosage(frequency=0), "im-1mg-3-per-week-2-weeks", ["interval unclear"]),
        (dosage(frequencyMax=None, periodMax=None), "im-1mg-3-per-week-2-weeks", []),
        (dosage(frequency=None), "im-1mg-3-per-week-2-weeks", ["interval differs"]),
        (dosage(period=None), "im-1mg-3-per-week-2-weeks", ["interval unclear"]),
        (dosage(frequencyMax=1), "im-1mg-3-per-week-2-weeks", ["interval unclear"]),
        (dosage(periodMax=0.5), "im-1mg-3-per-week-2-weeks", ["interval unclear"]),
        (dosage(count=1), "im-1mg-3-per-week-2-weeks", ["interval unclear"]),
        (as_needed(dosage()), "im-1mg-3-per-week-2-weeks", ["interval unclear"]),
        (dosage(per="fortnight"), "im-1mg-3-per-week-2-weeks", ["interval unclear"]),
        ({"dosageInstruction": "x"}, "oral-1mg-daily", ["dose unclear", "interval unclear", "route unclear"]),
    ],
)
def test_differences(guideline: Guideline, given: Json, offer: str, expected: list[str]) -> None:
    found = differences(order(B12, **given), guideline.offers[offer])
    assert sorted(f"{d.of} {d.kind}" for d in found) == expected
    assert all(isinstance(d, Difference) and d.ordered and d.offered for d in found)


def test_a_range_of_doses(guideline: Guideline) -> None:
    def of(low: float, high: float) -> list[str]:
        given = dosage(1, "mg", "26643006", frequency=1, per="d")
        rate = {name: {"value": value, "unit": "mg", "code": "mg"} for name, value in (("low", low), ("high", high))}
        given["dosageInstruction"][0]["doseAndRate"] = [{"doseRange": rate}]
        return [f"{d.of} {d.kind}" for d in differences(order(B12, **given), guideline.offers["oral-1-2mg-daily"])]

    assert of(1, 2) == of(1.2, 1.5) == []
    assert of(0.5, 2) == of(1, 3) == ["dose differs"]
    assert of(2, 1) == ["dose unclear"]


# ---- reasons and feedback --------------------------------------------------------------------------


def test_reasons_are_data(tmp_path: Path) -> None:
    from b12kg.resources import ONTOLOGY

    reasons = override_reasons(ONTOLOGY / "cds.ttl")
    assert len(reasons) == 6
    text = (ONTOLOGY / "cds.ttl").read_text(encoding="utf-8")
    (tmp_path / "cds.ttl").write_text(text.replace('"the patient declines"', '"no, thanks"'), encoding="utf-8")
    assert "no, thanks" in {reason["display"] for reason in override_reasons(tmp_path / "cds.ttl")}


FEEDBACK = {"card": INSTANCE, "outcome": "overridden", "outcomeTimestamp": "2026-01-15T08:00:00Z"}


def test_feedback_is_kept_in_the_log_of_runs(executable: ExecutableGuideline, tmp_path: Path) -> None:
    append(tmp_path, executable.recommend({"id": "p", "asOf": "2026-01-15"}), at=AT, with_record=True)
    app = application(executable, Settings(record_to=tmp_path, now=lambda: AT))
    accepted = {**FEEDBACK, "outcome": "accepted", "acceptedSuggestions": [{"id": INSTANCE}]}
    found = ask(app, "POST", "/cds-services/droracle-2025/feedback", {"feedback": [FEEDBACK, accepted]})
    assert (found.status, found.json()) == (200, {"kept": 2, "commentsNotKept": 0})
    report = check(tmp_path, executable)
    assert (report.ok, report.entries, report.same) == (True, 3, 1)
    assert report.not_rerun == {"it tells what became of a card": 2}
    lines = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    entry = json.loads(lines[1])
    assert entry["feedback"] == {"card": INSTANCE, "outcome": "overridden"}
    assert entry["guideline"]["digest"] == executable.content.digest
    for forged in (
        lines[1].replace(b"overridden", b"acceptedxx"),
        lines[1].replace(b'"feedback"', b'"feedbacks"'),
        b"",
    ):
        (tmp_path / FILE).write_bytes(lines[0] + forged + lines[2])
        assert not check(tmp_path, executable).ok


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"card": "x"}, "feedback[0].card"),
        ({"card": None}, "feedback[0].card"),
        ({"outcome": "ignored"}, "feedback[0].outcome"),
        ({"outcomeTimestamp": "yesterday"}, "feedback[0].outcomeTimestamp"),
        ({"outcome": "accepted"}, "feedback[0].acceptedSuggestions"),
        ({"outcome": "accepted", "acceptedSuggestions": [{"id": "x"}]}, "feedback[0].acceptedSuggestions"),
        ({"overrideReason": "because"}, "feedback[0].overrideReason"),
        ({"overrideReason": {"reason": "because"}}, "feedback[0].overrideReason.reason"),
    ],
)
def test_feedback_that_is_none(executable: ExecutableGuideline, tmp_path: Path, change: Json, place: str) -> None:
    app = application(executable, Settings(record_to=tmp_path / "log"))
    path = "/cds-services/droracle-2025/feedback"
    found = ask(app, "POST", path, {"feedback": [{**FEEDBACK, **change}, FEEDBACK]})
    assert (found.status, found.media) == (400, FHIR)
    assert found.json()["issue"][0]["expression"] == [place]
    wrongs: list[Json] = [{"feedback": []}, {"feedback": [FEEDBACK] * 101}, {"feedback": {}}, {}]
    for wrong in wrongs:
        assert ask(app, "POST", path, wrong).status == 400
    assert ask(app, "POST", "/cds-services/nothing/feedback", {"feedback": [FEEDBACK]}).status == 404
    assert not (tmp_path / "log").exists()


def test_a_log_that_cannot_be_written_is_no_success(executable: ExecutableGuideline, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("a file")
    app = application(executable, Settings(record_to=tmp_path / "log"))
    found = ask(app, "POST", "/cds-services/droracle-2025/feedback", {"feedback": [FEEDBACK]})
    assert found.status == 503
    assert str(tmp_path) not in found.text
    with pytest.raises(UsageError, match="time zone"):
        append_feedback(tmp_path, executable.content, {}, at=datetime(2026, 1, 15, 9))
