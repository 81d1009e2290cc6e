# The two commands that matter: `make demo` shows the scheduler, `make test` checks it.
# Both need Python 3.11 or later; the tests and `make demo-cluster` also need Go, for they build a control plane.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo demo-cluster test unit integration check bench clean

help: ## show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

demo: $(VENV)/.runtime ## place the demo's pods on a simulated cluster, with reasons
	@$(BIN)/python -m demo.simulated

demo-cluster: $(VENV)/.dev ## the same on a real API server, with simulated nodes
	@$(BIN)/python -m demo.cluster

test: check unit integration ## everything: style, types, layers, unit tests, tests on a real control plane

check: $(VENV)/.dev ## style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.dev ## tests that need no control plane
	$(BIN)/python -m pytest -m "not integration" -n 2 --dist loadfile -q

integration: $(VENV)/.dev ## tests on a real API server, which is built on first use (some minutes)
	$(BIN)/python -m tests.controlplane build
	$(BIN)/python -m pytest -m integration -q

bench: $(VENV)/.dev ## how fast: a decision, and pods bound a second beside the stock scheduler
	$(BIN)/python -m tests.benchmarks.bench_decision
	$(BIN)/python -m tests.benchmarks.throughput --peer

clean: ## forget the environment and what was built
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@echo "making a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: setup.py | $(VENV)/bin/python
	@echo "installing the scheduler and what it needs (a minute or two the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@$(BIN)/python -m compileall -q engine grammar  # else each start compiles, where Python is told to write no byte code
	@touch $@

$(VENV)/.dev: setup.py pyproject.toml | $(VENV)/bin/python
	@echo "installing the scheduler and the tools of its tests (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m compileall -q engine grammar
	@touch $@ $(VENV)/.runtime
