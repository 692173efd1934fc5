"""``b12kg audit``: nothing to say of the shipped guideline, and something of each seeded defect."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from b12kg.audit import audit
from b12kg.cli import main
from b12kg.guideline import Guideline
from b12kg.resources import GUIDELINES
from b12kg.turtle import load_guideline
from tests.conftest import SECOND
from tests.test_second_guideline import edit


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GUIDELINES / "droracle-2025", tmp_path / "mine"))


def test_the_shipped_guideline_has_no_finding(guideline: Guideline) -> None:
    assert audit(guideline) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "check"),
    [
        # by a shape
        (
            "rules.ttl",
            'injections three times a week."@en',
            'injections three times a week"@en',
            "Term-definition-form",
        ),
        # by a query
        ("regimens.ttl", "b12:low 1.0 ;\n    b12:high 1.0", "b12:low 3.0 ;\n    b12:high 3.0", "dose-figure-violation"),
        ("thresholds.ttl", "xsd:minExclusive 20.0", "xsd:minExclusive 25.0", "threshold-figure-violation"),
        ("rules.ttl", "b12:modality b12:requires ;", "b12:modality b12:suggests ;", "override-basis-violation"),
        # by the reasoner
        (
            "rules.ttl",
            "b12:over dro:maintenance-neuro ;\n    b12:basis b12:stronger-modality",
            "b12:over dro:maintenance-neuro ;\n    b12:basis b12:narrower-population",
            "narrower-population",
        ),
    ],
)
def test_a_seeded_defect_is_found(copy: Path, file: str, old: str, new: str, check: str) -> None:
    edit(copy, file, old, new)
    findings = audit(load_guideline(copy))
    assert findings
    assert check in {finding.check for finding in findings}
    assert all(finding.message and finding.entity for finding in findings)


def test_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit"]) == 0
    assert capsys.readouterr().out == "droracle-2025 0.1.0: 0 findings\n"
    assert main(["audit", "--guideline", str(SECOND), "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert len(found) > 20
    assert {"severity", "check", "entity", "property", "value", "message"} == found[0].keys()
    assert main(["audit", "--guideline", str(SECOND)]) == 1
    assert "error: " in capsys.readouterr().out
