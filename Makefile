# The whole developer interface; `make` alone prints it.
SHELL := /bin/bash
PYTHON ?= /usr/bin/python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup fmt check unit test run bench clean
help: ## print this
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

fmt: ## format the code
	@$(BIN)/ruff check --fix --quiet minikube_py tests packaging .ci; $(BIN)/ruff format minikube_py tests packaging .ci

check: ## lint, format, types, layers, sizes
	@$(BIN)/ruff check minikube_py tests packaging .ci
	@$(BIN)/ruff format --check --quiet minikube_py tests packaging .ci
	@$(BIN)/mypy
	@$(BIN)/lint-imports
