# Bedside: `make run` shows a live ward, `make test` runs all tests. README.md says the rest.
SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell requirements/find-python.sh)
DATA ?= ../shared/data
WORKERS ?= 2
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: evaluate-beats help run test test-versions test-long test-vm lint evaluate train arm64 bench golden lock clean
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

run: $(VENV)/run.stamp ## a live ward of virtual patients, in the browser
	@$(BIN)/bedside run --demo $(ARGS)

test: $(VENV)/test.stamp ## style, types, imports, and every test (under 20 minutes)
	@tests/system-packages.sh
	$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope -m "not long" --junitxml build/results.xml $(ARGS)
	$(MAKE) --no-print-directory test-versions
	$(if $(ARGS),,$(BIN)/bedside compliance build --results build/results.xml --key build/compliance.key)

test-versions: ## the core tests on every other supported Python that is at hand
	@requirements/test-versions.sh

test-vm: $(VENV)/test.stamp ## pairing and streaming through BlueZ and a Linux kernel, in a small virtual machine
	tests/vm/run.sh $(BIN)/python $(VM)

test-long: $(VENV)/test.stamp ## full counts of kills, an hour of the ward, soaks
	@tests/system-packages.sh
	$(BIN)/python -m pytest -m long --timeout 3600 $(ARGS)

lint: $(VENV)/test.stamp ## style, types, and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

evaluate-beats: $(VENV)/test.stamp
	$(BIN)/bedside evaluate beats $(DATA)/mitdb --write

evaluate: $(VENV)/test.stamp ## score the live path on annotated recordings: DATA=DIR (default ../shared/data)
	$(BIN)/bedside evaluate beats $(DATA)/mitdb --write
	$(BIN)/bedside evaluate rhythm $(DATA) --write
	$(BIN)/bedside evaluate alarms $(DATA)/cinc2015 --write
	$(BIN)/bedside evaluate rate --write
	$(BIN)/bedside evaluate delineation $(DATA)/ludb --write $$($(BIN)/python -c 'import neurokit2' 2>/dev/null || echo --no-peer)
	$(BIN)/bedside evaluate quality $(DATA)/cinc2011 $(DATA)/cinc2017 $(DATA)/mitdb $(DATA)/nstdb --write
	$(BIN)/bedside evaluate pulse $(DATA)/cinc2015 --write
	$(BIN)/bedside evaluate respiration $(DATA)/cinc2015 --write

train: $(VENV)/train.stamp ## make the model files anew from DATA; BEDSIDE_SIGN_WITH=FILE signs them
	$(BIN)/bedside train beats --data $(DATA) --out models
	$(BIN)/bedside train rhythm --data $(DATA) --out models

arm64: $(VENV)/test.stamp ## what the models answer on an emulated 64-bit ARM board (fetches 100 MB the first time)
	models/arm64/outputs.sh

deb: $(VENV)/run.stamp ## a Debian 12 package with its own environment, in build/
	@provisioning/debian/build.sh build

bench: $(VENV)/test.stamp ## cost and latency on this machine
	$(BIN)/bedside bench

lock: ## remake the lock files (needs uv)
	requirements/compile.sh

clean: ## remove what make made; records stay
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

# ---------------------------------------------------------------- the environment
# One virtual environment; each stamp says which lock file it was filled from.
$(VENV)/pip.stamp:
	@requirements/make-venv.sh "$(PYTHON)" "$(VENV)"
	@touch $@

$(VENV)/run.stamp: $(VENV)/pip.stamp requirements/run.txt pyproject.toml
	@requirements/install.sh $(VENV) run "some 60 packages, about a minute"
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp requirements/test.txt
	@requirements/install.sh $(VENV) test "the test tools"
	@requirements/axe.sh $(VENV)
	@touch $@

$(VENV)/peers.stamp: $(VENV)/train.stamp requirements/peers.txt
	@requirements/install.sh $(VENV) peers "the peers that Bedside is measured beside"
	@rm -rf $(VENV)/lib/python3.*/site-packages/tests # neurokit2 leaves its own there, which would hide ours
	@touch $@

$(VENV)/train.stamp: $(VENV)/test.stamp requirements/train.txt
	@requirements/install.sh $(VENV) train "TensorFlow, about 600 MB"
	@touch $@
