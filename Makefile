# durablejob: two commands matter, `make demo` and `make test`; both set up what they need.
# What is slow to make is cached outside the repository (see CONTRIBUTING).

PYTHON ?= python3
VENV   := .venv
RUN    := $(VENV)/bin/python
STAMP  := $(VENV)/.installed
export UV_COMPILE_BYTECODE := 1
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.PHONY: help setup setup-node demo test lint generate format explore crash crash-double faults seeded bad events airflow-install-check report bench clean

help: ## show this
	@echo "durablejob: Airflow tasks whose external jobs survive anything"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-21s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the virtual environment with everything that tests and demo need

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "== virtual environment in $(VENV) (about a minute; seconds when pip's and uv's caches are warm)"
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is needed: Debian package python3-venv"; exit 1; }
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@$(VENV)/bin/uv pip install --quiet --python $(RUN) --editable '.[controller,airflow,test]'
	@touch $@

setup-node: setup ## install the Debian packages that a real node needs (as root); without them its tests are skipped
	@$(RUN) -m tests.testbed.node.packages

demo: setup ## an Airflow DAG submits a real Spark job; worker and controller are killed; it runs once (KEEP=1: leave all running)
	@$(RUN) -m tests.demo $(if $(KEEP),--keep)

test: setup ## all tests, on a real API server, Spark, YARN and Airflow
	@echo "== building what is not cached: the Kubernetes binary (minutes, the first time), Spark, Hadoop's jars, helm, promtool"
	@$(RUN) -m tests.testbed build kube spark yarn helm promtool
	@echo "== tests"
	@$(RUN) -m tests.lanes $(PYTEST)

lint: setup ## ruff, mypy, the layers, generated files, the chart (builds helm, the first time)
	@echo "== ruff";            $(RUN) -m ruff check --quiet .
	@echo "== format";          $(RUN) -m ruff format --check --quiet .
	@echo "== mypy";            $(RUN) -m mypy --no-error-summary && $(RUN) -m mypy --no-error-summary tests/testbed tests/demo tests/bench tests/e2e tests/crash tests/faults tests/seeded tests/bad tests/events tests/report.py tests/lanes.py tests/airflow_install.py tests/node tests/chart charts/generate.py charts/durablejob/files/check.py
	@echo "== layers";          $(VENV)/bin/lint-imports --no-logo
	@echo "== generated files"; $(RUN) -m durablejob_api.crdgen --check
	@$(RUN) controller/gate/build.py --check
	@$(RUN) charts/generate.py --check
	@echo "== chart";           $(RUN) -m tests.chart.lint

generate: setup ## write what is generated: the CRDs, the gate's classes, the chart's CRDs and README
	@$(RUN) -m durablejob_api.crdgen
	@$(RUN) controller/gate/build.py
	@$(RUN) charts/generate.py

format: setup ## format the code
	@$(RUN) -m ruff format .

explore: setup ## explore every order of crashes and delays against the real decide (minutes)
	@$(RUN) -m tests.model.explore --full --json build/results/explore.json

CHOSEN = --only "$(ONLY)" $(if $(CELLS),--cells $(CELLS)) $(if $(FRESH),--fresh)
KEPT = --json build/results/$(1)$(addprefix -,$(ONLY)).json --logs build/$(1)-logs --book build/$(1)-cells.jsonl

crash: setup ## stop the controller at each of its calls, in each story of a job; resumable (ONLY=text CELLS=number FRESH=1; hours)
	@$(RUN) -m tests.testbed build kube spark
	@$(RUN) -m tests.crash $(call KEPT,crash) $(CHOSEN)

crash-double: setup ## the same, stopped a second time some calls later, in 400 cells (the same variables; minutes)
	@$(RUN) -m tests.testbed build kube
	@$(RUN) -m tests.crash --double $(call KEPT,crash-double) $(CHOSEN)

faults: setup ## watches, leaders, outages and answers that go wrong around the controller (ONLY=text; 25 minutes)
	@$(RUN) -m tests.testbed build kube
	@$(RUN) -m tests.faults --json build/results/faults.json --logs build/fault-logs $(if $(ONLY),--only "$(ONLY)")

seeded: setup ## plant mistakes in copies of the code, and name the test that notices each (minutes)
	@$(RUN) -m tests.seeded --json build/results/seeded.json

bad: setup ## create 10,000 bad resources beside good jobs: each gets a verdict, nobody is stopped (minutes)
	@$(RUN) -m tests.testbed build kube
	@$(RUN) -m tests.bad --json build/results/bad.json

# Named, for make takes a comma in $(if …) for the end of its part.
WITH_PEER := .[controller,airflow,test,peer]

events: setup ## what happens to a task and its job on a real Airflow, event by event (ONLY=text; PEER=1: also beside SparkSubmitOperator, on one Spark Master)
	@$(RUN) -m tests.testbed build kube
	@$(if $(PEER),$(VENV)/bin/uv pip install --quiet --python $(RUN) --editable '$(WITH_PEER)')
	@$(RUN) -m tests.events --json build/results/events.json $(if $(PEER),--peer) --only "$(ONLY)"

airflow-install-check: setup ## install into a plain Airflow 3.3.2, in a fresh environment: no version that it had changes (minutes)
	@$(RUN) -m tests.airflow_install --json build/results/airflow-install.json

report: setup ## write the figures of build/results into docs/reliability.md
	@$(RUN) -m tests.report

bench: setup ## latency, rate, CPU and memory, beside spark-submit (minutes)
	@$(RUN) -m tests.testbed build kube spark yarn
	@$(RUN) -m tests.bench.standalone --json build/results/bench.json
	@$(RUN) -m tests.bench.yarn --json build/results/bench-yarn.json
	@$(RUN) -m tests.bench.triggers --json build/results/bench-triggers.json
	@$(RUN) -m tests.bench.drivers --json build/results/bench-drivers.json

clean: ## remove what was built here (not the caches)
	@rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache $(VENV)
