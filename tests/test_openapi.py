"""The description of the API is valid, complete and true: no input gives a 5xx, or an answer that it does not name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest

pytest.importorskip("starlette")

import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from starlette.routing import Route

import b12kg
from b12kg.guideline import Guideline
from b12kg.recommend import ExecutableGuideline
from b12kg.service import cds
from b12kg.service.api import Api
from b12kg.service.app import Settings, application
from b12kg.service.openapi import document
from b12kg.service.sparql import Endpoint
from b12kg.service.terms import Terms
from tests.asgi import ask
from tests.conftest import SECOND

EXAMPLES = 100
# Not every record that the schema allows is answered, since it may contradict itself; and some keys of a call of CDS
# Hooks are never looked at. What is answered to each is checked all the same.
NOT_CHECKED = [positive_data_acceptance, negative_data_rejection]
NOTHING_TO_GET_WRONG = {
    (path, "get")
    for path in (
        "/api/guideline",
        "/api/audit",
        "/health",
        "/cds-services",
        "/id/{term}",
        "/sparql/examples",
        "/.well-known/void",
    )
}

seen: Counter[tuple[str, int]] = Counter()


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Any:
    app = application(b12kg.load(), Settings(hosts=(), record_to=tmp_path_factory.mktemp("log")))
    return schemathesis.openapi.from_asgi("/openapi.json", app)


OPERATIONS = [
    (path, method)
    for path, operations in document(b12kg.load().content, feedback=True)["paths"].items()
    for method in operations
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the client that schemathesis asks with
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_no_input_gives_what_is_not_described(described: Any, path: str, method: str, mode: GenerationMode) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck]
    )
    @given(described[path][method.upper()].as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        answer = case.call()
        seen[f"{case.method} {case.path}", answer.status_code] += 1
        case.validate_response(answer, excluded_checks=NOT_CHECKED)

    if mode == GenerationMode.NEGATIVE and (path, method) in NOTHING_TO_GET_WRONG:
        pytest.skip("it takes no input")
    run()


def test_every_operation_was_asked_and_records_were_answered() -> None:
    if not seen:
        pytest.skip("the operations were not asked in this process")
    asked = {operation for operation, _ in seen}
    paths = document(b12kg.load().content, feedback=True)["paths"]
    assert {f"{method.upper()} {path}" for path, ops in paths.items() for method in ops} <= asked
    for path in ("recommend", "validate", "explain", "what-if"):
        assert seen[f"POST /api/{path}", 200] > 0
    assert sum(seen.values()) > 500


@pytest.mark.parametrize("secured", [False, True])
def test_the_document_is_valid(guideline: Guideline, secured: bool) -> None:
    made = document(guideline, secured=secured, feedback=True)
    validate(made)
    validate(document(b12kg.load(SECOND).content))
    for path, operations in made["paths"].items():
        for operation in operations.values():
            assert ("401" in operation["responses"]) == (secured and path != "/health")


def test_the_examples_are_records_of_the_schema(executable: ExecutableGuideline) -> None:
    app = application(executable)
    made = ask(app, "GET", "/openapi.json").json()
    assert made == document(executable.content)
    content = made["paths"]["/api/recommend"]["post"]["requestBody"]["content"]["application/json"]
    assert len(content["examples"]) > 2
    for example in content["examples"].values():
        jsonschema.validate(example["value"], made["components"]["schemas"]["Record"])
        assert ask(app, "POST", "/api/recommend", example["value"]).status == 200


def test_every_route_is_described(executable: ExecutableGuideline, tmp_path: Path) -> None:
    api = Api(executable)
    settings_ = Settings()
    routes: list[Route] = [*api.routes(), *Terms(executable.content).routes()]
    routes += Endpoint(executable, api, timeout=1, memory=2**30, rows=1).routes()
    routes += cds.routes(executable, api, record_to=tmp_path, today=settings_.today, now=settings_.now)
    there = {
        (re.sub(r":path", "", route.path), method) for route in routes for method in (route.methods or set()) - {"HEAD"}
    }
    paths = document(executable.content, feedback=True)["paths"]
    assert there == {(path, method.upper()) for path, operations in paths.items() for method in operations}
