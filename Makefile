# Bedside: `make run` shows a live ward, `make test` runs all tests. README.md says the rest.
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: lint
lint: ## style, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=appliance:signal:models:provisioning:compliance $(BIN)/lint-imports
