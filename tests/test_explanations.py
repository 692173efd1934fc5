"""Why not and what if: against a search that knows no tables, and in the words of single cases."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import b12kg
from b12kg.errors import UsageError
from b12kg.iris import EO
from b12kg.outcome import PossibleOutcome
from b12kg.recommend import Engine, ExecutableGuideline
from b12kg.recommendation import Recommendation
from b12kg.recommendation.explanations import Change, ChangeSet, explained
from b12kg.recommendation.text import explanation
from b12kg.tables import example
from tests.conftest import SECOND, TIES

Facts = Mapping[str, str]


def answer(executable: ExecutableGuideline, engine: Engine = "table", **stated: Any) -> Recommendation:
    return executable.recommend({"id": "urn:example:p", "asOf": "2026-01-15", **stated}, engine=engine)


# ---- what if -----------------------------------------------------------------------------------


def every_change(
    executable: ExecutableGuideline, decision: str, stated: Facts, closed: Facts
) -> Iterator[tuple[ChangeSet, Any]]:
    """Every way to change a record by facts about a decision's features, with the outcome: no table is looked into.

    Args:
        stated: what the record states; ``closed`` what is known of the features by it.
    """
    features = executable.compiled.tables.decisions[decision].features
    options = [(None, *(value for value in f.values if value != closed.get(f.name))) for f in features]
    for values in itertools.product(*options):
        after = {f.name: value for f, value in zip(features, values, strict=True) if value is not None}
        record = example(executable.content, {**stated, **after})
        if after and not executable.validate(record):
            outcome = executable.recommend(record).decisions[decision].outcome
            yield tuple(Change(name, closed.get(name), value) for name, value in after.items()), outcome


@pytest.mark.parametrize("immutable", [True, False])
@pytest.mark.parametrize(
    ("decision", "each"),
    [
        ("InitialTreatment", 5),
        ("MaintenanceTreatment", 120),
        ("Preparation", 5),
        ("FolicAcid", 1),
        ("ResponseReview", 60),
    ],
)
def test_what_if_finds_each_smallest_set_and_no_other(
    executable: ExecutableGuideline, decision: str, each: int, immutable: bool
) -> None:
    table, content = executable.compiled.tables.decisions[decision], executable.content
    stays = {name for name, concept in content.concepts.items() if concept.immutable}
    stays |= {name for name, quantity in content.quantities.items() if quantity.immutable}
    rows = [row for row, _ in table.rows()][::each]
    assert len(rows) > 3
    for row in rows:
        known = table.known(row)
        first = executable.recommend(example(content, known))
        found = first.what_if(decision, immutable=immutable)[decision]
        now = table.at(row).outcome
        # What the facts entail is known as well.
        closed = table.known(first.place.decisions[decision])
        expected: dict[PossibleOutcome, set[ChangeSet]] = {}
        for changes, outcome in every_change(executable, decision, known, closed):
            fixed = any(c.of in stays and c.before not in (None, "absent") for c in changes)
            if fixed and not immutable:
                continue
            if outcome.status != "undetermined" and outcome.key != now.key:
                sets = expected.setdefault(PossibleOutcome(*outcome.key), set())
                fewest = min(map(len, sets), default=len(changes))
                if len(changes) < fewest:
                    sets.clear()
                if len(changes) <= fewest:
                    sets.add(changes)
        assert {one.outcome: set(one.changes) for one in found} == expected, known


def changed(recommendation: Recommendation, changes: ChangeSet) -> dict[str, Any]:
    """The record with just these changes made to what it states."""
    content, record = recommendation.guideline, recommendation.record
    after = {change.of: change.after for change in changes}
    stated = {s.of: "present" if s.present else "absent" for s in record.statements} | after
    form: Any = example(content, {name: value for name, value in stated.items() if name in content.concepts} | after)
    form["measurements"] += [
        {"of": m.of, "value": float(m.value), "unit": m.unit} for m in record.measurements if m.of not in after
    ]
    if record.jurisdiction is not None:
        form.setdefault("jurisdiction", record.jurisdiction)
    return {**form, "asOf": "2026-01-15"}


RECORDS: tuple[dict[str, Any], ...] = (
    {},
    {"present": ["PerniciousAnemia"], "absent": ["NeurologicalInvolvement"]},
    {"present": ["SevereVitaminB12Deficiency", "NeurologicalInvolvement"], "jurisdiction": "US"},
    {
        "present": ["BariatricSurgery", "PerniciousAnemia"],
        "absent": ["RenalDysfunction"],
        "measurements": [{"of": "DistalIleumResected", "value": 30, "unit": "cm"}],
        "jurisdiction": "GB",
    },
)


@pytest.mark.parametrize("engine", ["table", "reference"])
@pytest.mark.parametrize("stated", RECORDS, ids=range(len(RECORDS)))
def test_the_changes_lead_to_the_outcome(executable: ExecutableGuideline, stated: Any, engine: Engine) -> None:
    first = answer(executable, **stated)
    tried = 0
    for decision, counterfactuals in first.what_if(immutable=True).items():
        # The reference engine takes some tenths of a second: one way for each outcome will do.
        for found in counterfactuals:
            for changes in found.changes if engine == "table" else found.changes[:1]:
                then = executable.recommend(changed(first, changes), engine=engine).decisions[decision]
                assert then.outcome.key == (found.outcome.status, found.outcome.recommended, found.outcome.conflicting)
                tried += 1
    assert tried > 10


def test_what_nobody_can_change_is_left_out_unless_asked_for(executable: ExecutableGuideline) -> None:
    operated = answer(
        executable,
        present=["BariatricSurgery"],
        absent=["NeurologicalInvolvement", "PerniciousAnemia"],
        measurements=[{"of": "DistalIleumResected", "value": 30, "unit": "cm"}],
    )
    decision = "MaintenanceTreatment"
    possible = operated.what_if(decision)[decision]
    of = {change.of for found in possible for changes in found.changes for change in changes}
    assert of.isdisjoint({"BariatricSurgery", "DistalIleumResected"})
    asked = operated.what_if(decision, immutable=True)[decision]
    nearest = {found.outcome.recommended: found.changes for found in asked}
    assert (Change("BariatricSurgery", "present", "absent"),) in nearest["im-1mg-monthly-lifelong",]
    assert len(asked) > len(possible)


def test_an_operation_that_was_not_can_still_be(executable: ExecutableGuideline) -> None:
    healthy = answer(executable, absent=["BariatricSurgery", "VitaminB12Deficiency"])
    changes = healthy.what_if("PregnancyPlanningMonitoring")["PregnancyPlanningMonitoring"][0].changes
    assert changes == ((Change("BariatricSurgery", "absent", "present"), Change("PlanningPregnancy", None, "present")),)


def test_a_change_takes_along_what_the_record_states_besides(executable: ExecutableGuideline) -> None:
    """Preparation does not ask about pernicious anaemia, but who has it has the deficiency."""
    first = answer(executable, present=["PerniciousAnemia"], absent=["NeurologicalInvolvement"], jurisdiction="GB")
    (found,) = [w for w in first.what_if("Preparation")["Preparation"] if w.outcome.status == "not-applicable"]
    together = [{change.of: change.after for change in changes} for changes in found.changes]
    assert {"VitaminB12Deficiency": "absent", "PerniciousAnemia": "absent"} in together
    assert {"VitaminB12Deficiency": "absent"} not in together


def test_what_only_followed_from_a_fact_that_is_gone_is_unknown(executable: ExecutableGuideline) -> None:
    """Without pernicious anaemia nothing says that there is a deficiency: it has to be stated too."""
    ileum = [{"of": "DistalIleumResected", "value": 0, "unit": "cm"}]
    stated: dict[str, Any] = {
        "present": ["PerniciousAnemia", "NeurologicalInvolvement"],
        "absent": ["BariatricSurgery"],
    }
    decision = "MaintenanceTreatment"
    found = answer(executable, **stated, measurements=ileum).what_if(decision)[decision]
    of = {w.outcome.recommended: [{c.of for c in changes} for changes in w.changes] for w in found}
    assert ("im-1mg-every-2-months",) not in of
    stated["present"].append("VitaminB12Deficiency")
    found = answer(executable, **stated, measurements=ileum).what_if(decision)[decision]
    of = {w.outcome.recommended: [{c.of for c in changes} for changes in w.changes] for w in found}
    assert of["im-1mg-every-2-months",] == [{"PerniciousAnemia"}]


def test_what_is_tied_to_a_change_is_changed_with_it(tied: ExecutableGuideline) -> None:
    assert "disjointWith" in TIES
    feverish = answer(tied, absent=["Cold"], measurements=[{"of": "Temperature", "value": 39, "unit": "Cel"}])
    for found in feverish.what_if("Drink")["Drink"]:
        for changes in found.changes:
            assert {change.of for change in changes} >= {"Thirst", "Temperature"}


# ---- why not -----------------------------------------------------------------------------------


def why_not(executable: ExecutableGuideline, decision: str, offer: str, **stated: Any) -> Any:
    (contrast,) = answer(executable, **stated).why_not(decision, offer=offer)[decision]
    return contrast.to_dict()


def test_the_facts_that_exclude_a_rule(executable: ExecutableGuideline) -> None:
    stated: dict[str, Any] = {"present": ["VitaminB12Deficiency"], "absent": ["NeurologicalInvolvement"]}
    found = why_not(executable, "InitialTreatment", "im-1mg-alternate-days-until-no-further-improvement", **stated)
    assert (found["standing"], found["ifKnown"], len(found["rules"])) == ("not-offered", [], 1)
    rule = found["rules"][0]
    assert (rule["rule"], rule["kind"], rule["missing"]) == ("initial-neuro", "excluded", [])
    assert [fact["path"] for fact in rule["because"]] == ["absent[0]"]


def test_the_overriding_rule_and_its_basis(executable: ExecutableGuideline) -> None:
    stated: dict[str, Any] = {"present": ["PerniciousAnemia", "NeurologicalInvolvement"]}
    found = why_not(executable, "MaintenanceTreatment", "im-1mg-every-2-months", **stated)
    (rule,) = found["rules"]
    assert rule["kind"] == "overridden"
    assert rule["by"] == [{"rule": "maintenance-pernicious-anemia", "basis": "stronger-modality"}]


def test_the_unknown_facts_that_would_let_it_through(executable: ExecutableGuideline) -> None:
    stated: dict[str, Any] = {"present": ["VitaminB12Deficiency"], "absent": ["RenalDysfunction"]}
    found = why_not(executable, "Preparation", "cyanocobalamin", **stated)
    assert found["standing"] == "possible"
    assert found["ifKnown"] == [[{"of": "jurisdiction", "from": None, "to": "US"}]]
    (rule,) = found["rules"]
    assert (rule["kind"], rule["missing"]) == ("unknown", ["jurisdiction"])


def test_an_offer_that_is_merely_permitted(executable: ExecutableGuideline) -> None:
    stated: dict[str, Any] = {
        "present": ["VitaminB12Deficiency", "PrefersOralTreatment"],
        "absent": ["NeurologicalInvolvement"],
    }
    found = why_not(executable, "InitialTreatment", "oral-1-2mg-daily", **stated)
    (rule,) = found["rules"]
    assert (found["standing"], rule["kind"]) == ("alternative", "permitted")
    assert rule["by"] == [{"rule": "initial-without-neuro", "basis": None}]


def test_an_offer_that_another_one_refines(executable: ExecutableGuideline) -> None:
    ileum = [{"of": "DistalIleumResected", "value": 30, "unit": "cm"}]
    stated: dict[str, Any] = {"present": ["PerniciousAnemia"], "measurements": ileum}
    found = why_not(executable, "MaintenanceTreatment", "injection-monthly-lifelong", **stated)
    (rule,) = found["rules"]
    assert (found["standing"], rule["kind"]) == ("refined", "refined")
    assert rule["by"] == [{"rule": "maintenance-ileal-resection", "basis": None}]


def test_both_sides_of_a_conflict(executable: ExecutableGuideline) -> None:
    stated: dict[str, Any] = {"present": ["VitaminB12Deficiency", "RenalDysfunction"], "jurisdiction": "US"}
    contrasts = answer(executable, **stated).why_not("Preparation")["Preparation"]
    assert [(c.offer, c.standing) for c in contrasts] == [
        ("cyanocobalamin", "conflicting"),
        ("hydroxocobalamin", "conflicting"),
        ("methylcobalamin", "conflicting"),
    ]
    kinds = {(h.finding.rule.name, h.kind, h.by) for c in contrasts for h in c.hindrances}
    assert ("preparation-us-availability", "disagreement", (("preparation-renal", None),)) in kinds
    assert ("preparation-renal", "disagreement", (("preparation-us-availability", None),)) in kinds


def test_every_offer_that_is_not_recommended_has_a_reason(executable: ExecutableGuideline) -> None:
    for stated in RECORDS:
        found = answer(executable, **stated)
        for decision, contrasts in found.why_not().items():
            result = found.decisions[decision]
            offers = {offer for finding in result.rules for offer in finding.rule.offers}
            assert {c.offer for c in contrasts} == offers - {*result.recommended}
            for contrast in contrasts:
                assert contrast.hindrances
                for hindrance in contrast.hindrances:
                    assert (hindrance.kind == "excluded") == (hindrance.finding.state == "excluded")
                    assert hindrance.kind != "overridden" or hindrance.by
                    assert hindrance.kind != "unknown" or hindrance.missing
                    assert hindrance.kind not in ("permitted", "disagreement", "refined") or hindrance.by


def test_what_would_let_an_offer_through_does(executable: ExecutableGuideline) -> None:
    tried = 0
    for stated in RECORDS:
        first = answer(executable, **stated)
        for decision, contrasts in first.why_not().items():
            for contrast in contrasts:
                for changes in contrast.if_known:
                    then = executable.recommend(changed(first, changes)).decisions[decision]
                    assert contrast.offer in then.recommended
                    assert all(change.before is None for change in changes)
                    tried += 1
    assert tried > 10


def test_a_rule_that_refines_an_offer_is_named_before_those_that_disagree() -> None:
    second = b12kg.load(SECOND)
    fever: dict[str, Any] = {"measurements": [{"of": "Temperature", "value": 38, "unit": "Cel"}]}
    (contrast,) = answer(second, present=["Flu"], **fever).why_not("Care", offer="tea")["Care"]
    (hindrance,) = contrast.hindrances
    assert (hindrance.kind, hindrance.by) == ("refined", (("flu-sage", None),))


# ---- forms -------------------------------------------------------------------------------------


def test_both_engines_explain_alike(executable: ExecutableGuideline) -> None:
    for stated in RECORDS:
        by_table, by_reference = (explained(answer(executable, engine, **stated)) for engine in ("table", "reference"))
        assert {**by_table, "engine": ""} == {**by_reference, "engine": ""}


def test_the_json_form(executable: ExecutableGuideline) -> None:
    form: Any = explained(answer(executable, present=["VitaminB12Deficiency"]), ["FolicAcid"])
    assert form["guideline"]["reviewStatus"] == "content is pending human review"
    assert list(form["decisions"]) == ["FolicAcid"]
    found = form["decisions"]["FolicAcid"]
    assert found["missing"] == ["B12TreatmentStarted"]
    assert found["why"] == {
        "type": EO + "TraceBasedExplanation",
        "status": "undetermined",
        "recommended": [],
        "conflicting": [],
        "rules": [],
    }
    assert {c["type"] for c in found["whyNot"]} == {EO + "ContrastiveExplanation"}
    assert {c["type"] for c in found["whatIf"]} == {EO + "CounterfactualExplanation"}


def test_why_names_facts_passages_and_citations(executable: ExecutableGuideline) -> None:
    found: Any = answer(executable, present=["PerniciousAnemia"]).why("PotassiumMonitoring")["PotassiumMonitoring"]
    (rule,) = found["rules"]
    assert [fact["path"] for fact in rule["because"]] == ["present[0]"]
    assert [(p["id"], [c["marker"] for c in p["citations"]]) for p in rule["passages"]] == [("L59", ["6"])]


def test_names_that_are_not_there(executable: ExecutableGuideline) -> None:
    found = answer(executable)
    with pytest.raises(UsageError, match="no decision 'Folic'; did you mean 'FolicAcid'"):
        found.what_if("Folic")
    with pytest.raises(UsageError, match="no offer 'cyancobalamin' in Preparation; did you mean 'cyanocobalamin'"):
        found.why_not("Preparation", offer="cyancobalamin")
    with pytest.raises(UsageError, match="no offer 'tea' in Preparation; there are cyanocobalamin,"):
        found.why_not("Preparation", offer="tea")
    assert list(found.why_not(offer="cyanocobalamin")) == ["Preparation"]


def test_the_words(executable: ExecutableGuideline) -> None:
    stated: dict[str, Any] = {"present": ["PerniciousAnemia"], "absent": ["NeurologicalInvolvement"]}
    words = " ".join(explanation(answer(executable, **stated), ["MaintenanceTreatment"], with_what_if=True).split())
    for phrase in (
        "Review status of the source: content is pending human review.",
        "Why not 1 mg intramuscularly once every 2 months",
        "maintenance-neuro does not apply: neurological involvement absent (absent[0]).",
        "maintenance-standard is overridden by maintenance-pernicious-anemia (narrower-population); by what",
        "It would be recommended if length of distal ileum resected (DistalIleumResected) were > 20 cm (unknown now).",
        "oral-by-preference depends on what is unknown: preference for oral treatment (PrefersOralTreatment).",
        "were absent (now present)",
        "no medical device",
    ):
        assert phrase in words, phrase


def test_a_second_guideline_is_explained_in_its_own_words() -> None:
    second = b12kg.load(SECOND)
    words = explanation(answer(second, present=["Flu"]), with_what_if=True, decisions=())
    assert "Why not Herbal tea" in words or "Why not Tea" in words
    assert "B12" not in words
