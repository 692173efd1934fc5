"""Every case file and every published patient, on every engine."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from b12kg.outcome import Ending, Filling, fillings
from b12kg.recommend import Engine, ExecutableGuideline
from tests.cases import SHARED, Case, answered, cases, differences, published, published_differences

CASES = cases()
PUBLISHED = published()


@pytest.mark.parametrize("engine", get_args(Engine))
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.file}-{case.name}")
def test_case(case: Case, engine: Engine, executable: ExecutableGuideline) -> None:
    found = answered(executable, case.record(executable.content), engine)
    assert list(differences(found, case.expect)) == []


@pytest.mark.skipif(not PUBLISHED, reason=f"no published cases under {SHARED.name}/cases")
@pytest.mark.parametrize("engine", get_args(Engine))
@pytest.mark.parametrize("case", PUBLISHED, ids=lambda case: str(case["id"]))
def test_published_patient(case: dict[str, Any], engine: Engine, executable: ExecutableGuideline) -> None:
    assert list(published_differences(answered(executable, case["record"], engine), case["expected"])) == []


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
