"""Because, unused, alerts and the JSON form, beyond what the case files say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from b12kg.errors import UsageError
from b12kg.recommend import ExecutableGuideline

FULL: dict[str, Any] = {
    "id": "urn:explain",
    "asOf": "2026-01-15",
    "jurisdiction": "US",
    "present": [
        {"of": "PerniciousAnemia", "on": "2025-11-03", "source": "letter"},
        "SubacuteCombinedDegeneration",
        "SevereNeurologicalSymptoms",
        "PlanningPregnancy",
    ],
    "absent": ["BariatricSurgery"],
    "measurements": [
        {"of": "DistalIleumResected", "value": 300, "unit": "mm", "on": "2019-05-02", "source": "operation note"},
        {"of": "DistalIleumResected", "value": 10, "unit": "cm", "on": "2015-01-01"},
        {"of": "Hematocrit", "value": 40, "comparator": ">", "unit": "%"},
    ],
    "treatments": [{"of": "B12Treatment", "status": "started", "startedOn": "2026-01-10"}],
    "outsideSource": [{"of": "Pregnancy", "source": "https://example.org/note"}],
}


@pytest.fixture(scope="module")
def form(executable: ExecutableGuideline) -> Any:
    return executable.recommend(FULL).to_dict()


def rule(form: Any, decision: str, name: str) -> Any:
    (found,) = [finding for finding in form["decisions"][decision]["rules"] if finding["rule"] == name]
    return found


def test_because_names_the_entry_and_what_it_entails(form: Any) -> None:
    deficiency, *neuro = rule(form, "InitialTreatment", "initial-neuro")["because"]
    assert deficiency == {
        "of": "PerniciousAnemia",
        "state": "present",
        "entails": "VitaminB12Deficiency",
        "on": "2025-11-03",
        "source": "letter",
        "path": "present[0]",
    }
    assert [fact["of"] for fact in neuro] == ["SubacuteCombinedDegeneration", "SevereNeurologicalSymptoms"]
    assert {fact["entails"] for fact in neuro} == {"NeurologicalInvolvement"}


def test_because_of_a_measurement_is_as_reported(form: Any) -> None:
    assert rule(form, "MaintenanceTreatment", "maintenance-ileal-resection")["because"] == [
        {
            "of": "DistalIleumResected",
            "value": 300,
            "unit": "mm",
            "on": "2019-05-02",
            "source": "operation note",
            "path": "measurements[0]",
        }
    ]


def test_because_of_a_treatment_says_so(form: Any) -> None:
    (fact,) = rule(form, "FolicAcid", "folic-acid-after-b12")["because"]
    assert fact["saidBy"] == {"of": "B12Treatment", "status": "started"}
    assert fact["state"] == "present"
    assert fact["path"] == "treatments[0]"
    assert fact["startedOn"] == "2026-01-10"


def test_because_of_the_jurisdiction(form: Any) -> None:
    facts = rule(form, "Preparation", "preparation-us-availability")["because"]
    assert facts[1] == {"of": "jurisdiction", "value": "US", "path": "jurisdiction"}


def test_an_excluded_rule_says_by_what_and_an_unknown_one_by_nothing(form: Any) -> None:
    excluded = rule(form, "MaintenanceTreatment", "maintenance-bariatric")
    assert (excluded["state"], [fact["path"] for fact in excluded["because"]]) == ("excluded", ["absent[0]"])
    unknown = rule(form, "Preparation", "preparation-renal")
    assert (unknown["state"], unknown["because"]) == ("unknown", [])


def test_what_was_read_and_not_used_is_listed_with_the_reason(form: Any) -> None:
    assert form["unused"] == [
        {
            "path": "measurements[1]",
            "of": "DistalIleumResected",
            "reason": "measurements[0] counts, which is later or the same",
        }
    ]


def test_notices_keep_their_source(form: Any) -> None:
    (notice,) = form["notices"]
    assert (notice["of"], notice["source"], notice["path"]) == (
        "Pregnancy",
        "https://example.org/note",
        "outsideSource[0]",
    )


def test_every_offer_that_a_decision_names_is_described(form: Any) -> None:
    named = {
        offer
        for decision in form["decisions"].values()
        for key in ("recommended", "alternatives", "possibleAlternatives", "conflicting")
        for offer in decision[key]
    } | {
        offer for decision in form["decisions"].values() for finding in decision["rules"] for offer in finding["offers"]
    }
    assert named == form["offers"].keys()


def test_an_offer_with_all_its_components(form: Any) -> None:
    offer = form["offers"]["im-1mg-every-2-3-months-lifelong"]
    assert offer["dose"] == {"low": 1, "high": 1}
    assert (offer["unit"], offer["route"], offer["preparation"]) == ("mg", "intramuscular", None)
    (timing,) = offer["timing"]
    assert {k: timing[k] for k in ("frequency", "period", "periodMax", "periodUnit")} == {
        "frequency": 1,
        "period": 2,
        "periodMax": 3,
        "periodUnit": "mo",
    }
    assert offer["duration"] == {"text": "for life", "lifelong": True}
    assert offer["statedBy"]["dose"] == ["L20", "L31"]
    assert offer["statedBy"]["preparation"] == []


def test_ranges_stop_conditions_and_what_is_not_stated_stay_so(form: Any) -> None:
    offers = form["offers"]
    assert offers["oral-1-2mg-daily"]["dose"] == {"low": 1, "high": 2}
    assert offers["im-1mg-alternate-days-until-no-further-improvement"]["duration"] is None
    assert offers["im-1mg-alternate-days-until-no-further-improvement"]["until"] == "until no further improvement"
    assert offers["injection-monthly-lifelong"]["dose"] is None
    assert offers["injection-monthly-lifelong"]["statedBy"]["dose"] == []
    assert offers["im-1mg-3-per-week-2-weeks"]["duration"] == {
        "text": "for 2 weeks",
        "boundValue": 2,
        "boundUnit": "wk",
    }
    assert offers["oral-1mg-daily"]["statedBy"]["duration"] == ["L41"]
    assert offers["withhold-folic-acid-until-b12-treated"]["direction"] == "do-not"


def test_the_form_is_json_and_has_the_keys_of_the_design(form: Any) -> None:
    assert json.loads(json.dumps(form)) == form
    assert form["guideline"]["id"] == "droracle-2025"
    assert form["guideline"]["reviewStatus"] == "content is pending human review"
    assert form["guideline"]["lastUpdated"] == "2025-10-20"
    assert form["guideline"]["digest"].startswith("sha256:")
    keys = {"status", "sourceSilent", "recommended", "alternatives", "possibleAlternatives", "conflicting", "missing"}
    for decision in form["decisions"].values():
        assert decision.keys() == keys | {"possible", "rules", "arguments"}


def test_a_citation_says_how_it_was_resolved(form: Any) -> None:
    (passage,) = rule(form, "MaintenanceTreatment", "maintenance-pernicious-anemia")["passages"]
    assert passage["citations"] == [{"marker": "6", "reference": None, "resolution": "unresolved"}]


def test_explain_one_rule(executable: ExecutableGuideline) -> None:
    answer = executable.recommend(FULL)
    (found,) = answer.explain("maintenance-neuro")
    assert (found["decision"], found["state"]) == ("MaintenanceTreatment", "overridden")
    assert len(answer.explain("oral-by-preference")) == 2
    with pytest.raises(UsageError, match="did you mean 'maintenance-neuro'"):
        answer.explain("maintenance-nero")


def test_text_in_colour_says_the_same(executable: ExecutableGuideline) -> None:
    import re

    answer = executable.recommend(FULL)
    plain, coloured = answer.to_text(width=4000), answer.to_text(width=4000, colour=True)
    assert "\033[" in coloured
    assert re.sub(r"\033\[\d*m", "", coloured) == plain


def test_what_is_editorial_about_a_phenotype_or_a_passage_is_said_of_the_rule(form: Any) -> None:
    renal = rule(form, "Preparation", "preparation-renal")
    assert any("names no deficiency" in reason for reason in renal["editorial"])
    review = rule(form, "ResponseReview", "review-response")
    assert any("treatment that has started" in reason for reason in review["editorial"])


def test_what_a_record_says_cannot_move_the_cursor(executable: ExecutableGuideline) -> None:
    source = "\x1b[1A\x1b[2KRECOMMENDED: nothing\u202e"
    record = {"id": "a\x1b[2J", "asOf": "2026-01-15", "present": [{"of": "PerniciousAnemia", "source": source}]}
    text = executable.recommend(record).to_text()
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[1A" in text


def test_a_bound_that_does_not_count_is_not_refused(executable: ExecutableGuideline) -> None:
    ileum = {"of": "DistalIleumResected", "unit": "cm"}
    older = {**ileum, "value": 25, "comparator": "<", "on": "2019-01-01"}
    newer = {**ileum, "value": 10, "on": "2020-01-01"}
    record = {"id": "x", "asOf": "2026-01-15", "measurements": [older, newer]}
    assert executable.validate(record) == []
    assert [p.path for p in executable.validate({**record, "measurements": [older]})] == ["measurements[0]"]
