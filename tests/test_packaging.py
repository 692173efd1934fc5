"""The wheel as a user has it: installed elsewhere, called from another folder, without the checkout."""

from __future__ import annotations

import email
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import b12kg
from b12kg.compiled import file_name
from b12kg.guideline import Guideline
from b12kg.queries import shipped
from b12kg.resources import GUIDELINES

ROOT = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path, path: Path | None = None) -> str:
    """The standard output of a program that has to succeed; ``path`` is where it looks for modules first."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    if path is not None:
        environment["PYTHONPATH"] = str(path)
    ran = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout without the network."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed into it, and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target"]
    run(sys.executable, "-m", "pip", "install", *options, folder, wheel, cwd=folder)
    return folder


@pytest.fixture
def elsewhere(installed: Path, tmp_path: Path) -> Callable[..., str]:
    """Runs Python in another folder, where b12kg is the installed one."""
    return lambda *arguments: run(sys.executable, *arguments, cwd=tmp_path, path=installed)


def test_the_wheel_holds_what_the_checkout_holds(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    data = {p.relative_to(ROOT).as_posix() for top in ("ontology", "queries") for p in (ROOT / top).rglob("*.*")}
    assert len(data) > 15
    worked_out = {f"tables/{file_name(folder)}" for folder in GUIDELINES.iterdir()}
    assert {
        name.removeprefix("b12kg/_data/") for name in inside if name.startswith("b12kg/_data/")
    } == data | worked_out
    code = {p.relative_to(ROOT).as_posix() for p in (ROOT / "b12kg").rglob("*.py")} | {"b12kg/py.typed"}
    pages = {p.relative_to(ROOT).as_posix() for p in (ROOT / "b12kg" / "web").rglob("*.*") if p.suffix != ".pyc"}
    assert {Path(name).suffix for name in pages} >= {".html", ".css", ".js", ".json", ".txt"}
    code |= pages
    assert {name for name in inside if not name.startswith(("b12kg/_data/", "b12kg-"))} == code


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
        licenses = [name for name in archive.namelist() if name.endswith("/licenses/LICENSE")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["Name"] == "b12kg"
    assert metadata["Version"] == b12kg.__version__
    assert metadata["License-Expression"] == "Apache-2.0"
    extras = project["optional-dependencies"]
    assert set(metadata.get_all("Provides-Extra", [])) == set(extras)
    wanted = len(project["dependencies"]) + sum(map(len, extras.values()))
    assert len(metadata.get_all("Requires-Dist", [])) == wanted > len(project["dependencies"]) > 0
    assert len(licenses) == 1


def test_the_installed_package_answers_from_its_own_files(
    elsewhere: Callable[..., str], installed: Path, guideline: Guideline
) -> None:
    program = (
        "import json, b12kg; from b12kg.turtle import load_guideline; g = load_guideline();"
        "print(json.dumps([b12kg.__file__, g.digest, *map(str, g.files)]))"
    )
    module, digest, *files = json.loads(elsewhere("-c", program))
    assert digest == guideline.digest
    assert len(files) == len(guideline.files)
    assert [name for name in (module, *files) if not Path(name).is_relative_to(installed)] == []


def test_the_installed_package_looks_answers_up_in_the_tables_that_it_brings(
    elsewhere: Callable[..., str], installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = (
        "import sys, b12kg; from b12kg import compiled; folder = b12kg.resources.GUIDELINES / 'droracle-2025';"
        "print((b12kg.resources.TABLES / compiled.file_name(folder)).is_file());"
        "b12kg.load().recommend({'id': 'p', 'asOf': '2026-01-15'}); print('rdflib' in sys.modules)"
    )
    assert elsewhere("-c", program).split() == ["True", "False"]
    assert not (tmp_path / "b12kg").exists()


def test_the_installed_command_lists_its_queries(elsewhere: Callable[..., str]) -> None:
    assert elsewhere("-m", "b12kg", "--version") == f"b12kg {b12kg.__version__}\n"
    listed = elsewhere("-m", "b12kg", "queries").splitlines()
    assert [line.split(" ")[0] for line in listed] == list(shipped())


def test_the_installed_command_answers_a_shipped_example(elsewhere: Callable[..., str], installed: Path) -> None:
    examples = sorted((installed / "b12kg" / "_data" / "ontology" / "examples").glob("*.json"))
    assert examples
    answer = json.loads(elsewhere("-m", "b12kg", "recommend", "--format", "json", str(examples[0])))
    assert answer["guideline"]["version"] == b12kg.__version__
    assert answer["decisions"]


def test_the_script_is_the_command(installed: Path, tmp_path: Path) -> None:
    script = installed / "bin" / "b12kg"
    assert run(sys.executable, script, "--version", cwd=tmp_path, path=installed) == f"b12kg {b12kg.__version__}\n"


def test_a_program_that_fails_is_seen(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no such thing"):
        run(sys.executable, "-c", "raise SystemExit('no such thing')", cwd=tmp_path)
