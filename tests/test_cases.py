"""Every case file and every published patient, on every engine."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from b12kg.outcome import Ending, Filling, fillings
from b12kg.recommend import Engine, ExecutableGuideline
from tests.cases import SHARED, Case, cases, published

CASES = cases()
PUBLISHED = published()

LISTS = ("recommended", "alternatives", "possibleAlternatives", "conflicting", "missing", "possible")


def check_decision(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare one decision of the JSON form with what a case says of it."""
    rules = {finding["rule"]: finding for finding in found["rules"]}
    for key, value in expected.items():
        match key:
            case "status" | "sourceSilent":
                assert found[key] == value, key
            case "missing" | "recommended" | "alternatives" | "possibleAlternatives" | "conflicting" | "possible":
                assert found[key] == value, key
            case "rules":
                assert {rule: rules[rule]["state"] for rule in value} == value
            case "passages":
                assert {rule: [p["id"] for p in rules[rule]["passages"]] for rule in value} == value
            case "overriddenBy":
                by = {rule: {o["rule"]: o["basis"] for o in rules[rule]["overriddenBy"]} for rule in value}
                assert by == value
            case "mayBeOverriddenBy":
                assert {rule: [o["rule"] for o in rules[rule]["mayBeOverriddenBy"]] for rule in value} == value
            case "arguments":
                for passage, state in value.items():
                    states = {a["state"] for a in found["arguments"] if a["passage"] == passage}
                    assert states == {state}, passage
            case "argumentsFor" | "argumentsAgainst":
                side = "for" if key == "argumentsFor" else "against"
                for passage, offers in value.items():
                    named = {o for a in found["arguments"] if a["passage"] == passage for o in a[side]}
                    assert sorted(named) == sorted(offers), passage
            case _:
                pytest.fail(f"a case expects {key!r}, which nothing compares")
    if found["status"] != "undetermined":
        assert found["missing"] == []
        assert found["possible"] == []


@pytest.mark.parametrize("engine", get_args(Engine))
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}-{case.name}")
def test_case(case: Case, engine: Engine, executable: ExecutableGuideline) -> None:
    answer = executable.recommend(case.record(executable.content), engine=engine)
    form: dict[str, Any] = answer.to_dict()
    for key, expected in case.expect.items():
        match key:
            case "alerts":
                alerts = [{**alert, "passages": [p["id"] for p in alert["passages"]]} for alert in form["alerts"]]
                assert alerts == expected
            case "notices":
                assert [notice["of"] for notice in form["notices"]] == expected
            case "unused":
                assert [unused["path"] for unused in form["unused"]] == expected
            case "text":
                words = " ".join(answer.to_text(width=120).split())
                for phrase in expected:
                    assert phrase in words
            case decision:
                check_decision(form["decisions"][decision], expected)


@pytest.mark.skipif(not PUBLISHED, reason=f"no published cases under {SHARED.name}/cases")
@pytest.mark.parametrize("engine", get_args(Engine))
@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: str(case["id"]))
def test_published_patient(case: dict[str, Any], engine: Engine, executable: ExecutableGuideline) -> None:
    form: dict[str, Any] = executable.recommend(case["record"], engine=engine).to_dict()
    expected = dict(case["expected"])
    assert [alert["rule"] for alert in form["alerts"]] == expected.pop("alerts", [])
    assert expected.keys() == form["decisions"].keys()
    for decision, outcome in expected.items():
        found = form["decisions"][decision]
        for key, value in outcome.items():
            # The published cases list facts in code point order, not by how decisive they are.
            assert (sorted(found[key]) if key == "missing" else found[key]) == value, (decision, key)


def test_all_twelve_published_patients_are_there() -> None:
    if not SHARED.is_dir():
        pytest.skip("the shared folder is not there")
    assert len(PUBLISHED) == 12


def test_each_passage_has_a_case(executable: ExecutableGuideline) -> None:
    files = {case.file for case in CASES}
    assert executable.content.passages.keys() - files == set()


def test_each_decision_has_a_case_for_each_status_it_can_have(
    executable: ExecutableGuideline, endings_of_everyone: dict[str, set[str]]
) -> None:
    seen: dict[str, set[str]] = {name: set() for name in executable.content.decisions}
    for case in CASES:
        for decision, expected in case.expect.items():
            if decision in seen and "status" in expected:
                seen[decision].add(expected["status"])
    for decision, statuses in endings_of_everyone.items():
        possible = statuses | ({"undetermined"} if len(statuses) > 1 else set())
        assert seen[decision] == possible, decision


def test_each_rule_has_a_case_in_which_it_applies_and_one_in_which_it_does_not(
    executable: ExecutableGuideline,
) -> None:
    states: dict[str, set[str]] = {name: set() for name in executable.content.rules}
    for case in CASES:
        for expected in case.expect.values():
            if isinstance(expected, dict):
                for rule, state in expected.get("rules", {}).items():
                    states[rule].add(state)
    assert states
    for rule, found in states.items():
        assert "applies" in found, rule
        # One rule is about everybody.
        assert found & {"excluded", "unknown"} or executable.content.rules[rule].phenotype == "AnyPatient", rule


def test_each_argument_has_a_case(executable: ExecutableGuideline) -> None:
    named = {
        passage
        for case in CASES
        for expected in case.expect.values()
        if isinstance(expected, dict)
        for passage in {**expected.get("arguments", {}), **expected.get("argumentsFor", {})}
    }
    assert {passage for argument in executable.content.arguments for passage in argument.passages} == named


def test_each_notice_has_a_case(executable: ExecutableGuideline) -> None:
    named = {name for case in CASES for name in case.expect.get("notices", [])}
    assert named == executable.content.circumstances.keys()


def test_each_silence_has_a_case(everyone: list[tuple[Filling, Ending]]) -> None:
    can_be_silent = {filling.decision for filling, ending in everyone if ending.source_silent}
    assert len(can_be_silent) == 4
    has_case = {
        decision
        for case in CASES
        for decision, expected in case.expect.items()
        if isinstance(expected, dict) and expected.get("sourceSilent") is True
    }
    assert has_case == can_be_silent


def test_each_alert_has_a_certain_and_a_possible_case(executable: ExecutableGuideline) -> None:
    alerting = {name for name, rule in executable.content.rules.items() if rule.alert_when is not None}
    seen = {(alert["rule"], alert["certainty"]) for case in CASES for alert in case.expect.get("alerts", [])}
    assert seen == {(rule, certainty) for rule in alerting for certainty in ("certain", "possible")}


def test_every_decision_can_be_filled_in(executable: ExecutableGuideline) -> None:
    counts = {name: len(list(fillings(executable.content, name))) for name in executable.content.decisions}
    assert counts["MaintenanceTreatment"] == 64
    assert counts["Assessment"] == 1
