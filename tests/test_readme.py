"""The examples of the README, run as they stand."""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
CONSOLE = [block for kind, block in BLOCKS if kind == "console" and "b12kg " in block.splitlines()[0]]


@pytest.mark.parametrize("block", CONSOLE, ids=lambda block: block.splitlines()[0][:60])
def test_command_prints_what_the_readme_shows(block: str, tmp_path: Path) -> None:
    command, *shown = block.splitlines()
    script = tmp_path / "b12kg"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m b12kg "$@"\n', encoding="utf-8")
    script.chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    done = subprocess.run(
        command.removeprefix("$ "), shell=True, cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    wanted = "\n".join("..." if line == "..." else line for line in shown) + "\n"
    matches = doctest.OutputChecker().check_output(wanted, done.stdout, doctest.ELLIPSIS)
    assert matches, done.stdout


def test_python_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    examples = "\n".join(block for kind, block in BLOCKS if kind == "python")
    test = doctest.DocTestParser().get_doctest(examples, {}, "README", "README.md", 0)
    assert len(test.examples) >= 5
    runner = doctest.DocTestRunner()
    assert runner.run(test).failed == 0


def test_record_example_is_valid() -> None:
    import b12kg

    (record,) = [block for kind, block in BLOCKS if kind == "json"]
    assert b12kg.load().validate(record.encode()) == []


def test_readme_has_commands_to_run() -> None:
    assert len(CONSOLE) >= 3
    assert "make demo" in README
    assert "make test" in README
