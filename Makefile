# The whole developer interface; `make` alone prints it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
IMAGES := build/images/.ready
CLIENTS := build/clients/.ready
CODE := minikube_py tests packaging .ci
PYTEST := $(BIN)/pytest -q
# Processes that share out the tests that need no cluster.
JOBS ?= 2

.PHONY: help setup system fmt check unit test test-integration test-e2e test-two-nodes run fuzz chaos crash bench golden clean

help: ## print this
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

setup: system $(READY) $(IMAGES) $(CLIENTS) ## install what is missing: apt packages, .venv, tables, images, programs

system:
	@packaging/setup.sh

$(READY): pyproject.toml packaging/backend.py packaging/images/pause.c packaging/build_schema.py packaging/go_facts.py packaging/go_types.py packaging/extension_types.txt packaging/more_definitions.json | system
	@echo "venv: $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@

$(IMAGES): packaging/images/build_images.py packaging/images/pause.c | system $(READY)
	@echo "images: build/images"
	@$(BIN)/python packaging/images/build_images.py --out build/images >/dev/null
	@touch $@

$(CLIENTS): packaging/clients.py packaging/clients.txt | $(READY)
	@echo "clients: build/clients"
	@$(BIN)/python packaging/clients.py --out build/clients
	@touch $@

fmt: $(READY) ## format the code and mend what lint can
	@$(BIN)/ruff check --fix --quiet $(CODE) || true
	@$(BIN)/ruff format --quiet $(CODE)

check: setup ## lint, format, types, layers, sizes
	@echo "ruff";         $(BIN)/ruff check --quiet $(CODE)
	@echo "format";       $(BIN)/ruff format --check --quiet $(CODE)
	@echo "mypy";         $(BIN)/mypy --no-error-summary
	@echo "import-linter"; $(BIN)/lint-imports --no-logo >build/imports.txt 2>&1 || { cat build/imports.txt; exit 1; }
	@echo "sizes";        $(BIN)/python .ci/sizes.py minikube_py tests packaging .ci

unit: setup ## unit and datastore tests: no root, no network
	@$(PYTEST) -n $(JOBS) --dist worksteal tests/unit tests/datastore

test: setup ## every test
	@$(PYTEST) -n $(JOBS) --dist worksteal --ignore tests/e2e
	@$(PYTEST) tests/e2e

test-integration: setup ## the server in process, simulations
	@$(PYTEST) -n $(JOBS) --dist worksteal $(wildcard tests/integration tests/simulation)

test-e2e: setup ## root: containerd, network namespaces, kubectl
	@$(PYTEST) tests/e2e

test-two-nodes: setup ## sig-network over two nodes, and what cuts, delays and crashes do to them
	@KPY_E2E_NODES=2 $(PYTEST) tests/e2e/conformance/test_reaching.py tests/e2e/conformance/test_services.py tests/e2e/network
	@$(PYTEST) tests/e2e/nodes tests/e2e/nodes/long_partition.py tests/e2e/nodes/three_nodes.py

run: setup ## a single-node cluster in the foreground with an example; Ctrl-C stops it
	@$(BIN)/python packaging/run.py

fuzz: setup ## thousands of odd requests, other ones each time
	@KPY_FUZZ=$${KPY_FUZZ:-5000} KPY_FUZZ_SEED=$${KPY_FUZZ_SEED:-$$RANDOM} $(PYTEST) tests/fuzz

chaos: setup ## 200 rounds of kill -9 at a node: kpy, containerd, shims, containers
	@KPY_CHAOS_ROUNDS=$${KPY_CHAOS_ROUNDS:-200} KPY_CHAOS_SEED=$${KPY_CHAOS_SEED:-$$RANDOM} $(PYTEST) tests/e2e/node/test_chaos.py

crash: setup ## 1,000 rounds of kill -9 at the datastore, 1,000 power cuts; nothing acknowledged may be lost
	@KPY_CRASH_ROUNDS=$${KPY_CRASH_ROUNDS:-1000} KPY_CRASH_CUTS=$${KPY_CRASH_CUTS:-1000} KPY_CRASH_SEED=$${KPY_CRASH_SEED:-$$RANDOM} \
		$(PYTEST) -s tests/datastore/anomaly/test_crash_rounds.py tests/datastore/anomaly/test_power_cut.py

bench: setup ## figures of docs/performance.md
	@$(BIN)/python -m tests.bench --write

golden: setup ## rewrite the golden files of tests
	@KPY_GOLDEN=1 $(PYTEST) tests/datastore

clean: ## remove what was built; keeps .venv
	@rm -rf build dist .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find minikube_py tests -name __pycache__ -type d -prune -exec rm -rf {} +
