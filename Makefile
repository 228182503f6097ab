# Two commands do everything: `make run` (set up, then train) and `make test` (set up, then lint, types, tests).
# PYTHON picks the interpreter for the virtual environment (3.11 or 3.12).
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check
FRIENDS := .venv-friends

.PHONY: run test slow sandbox verl friends lint types unit prepare clean help

help: ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

run: prepare ## set up, then train the small policy and write its report (about 15 minutes on 2 cores)
	$(BIN)/llmi train quickstart

test: $(VENV)/.dev prepare lint types unit ## set up, then lint, types and tests

lint: $(VENV)/.dev ## style and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.dev ## strict type check
	$(BIN)/mypy

unit: $(VENV)/.dev ## tests, without the slow ones
	$(BIN)/pytest -q -m "not slow" -n 2 --dist loadgroup --durations=20

slow: $(VENV)/.verl $(VENV)/.server prepare ## the slow tests alone, verl's and those against a real judge's server among them
	$(BIN)/pytest -q -m slow --ignore tests/tools/sandbox --durations=20

sandbox: $(VENV)/.dev ## hostile and ordinary programs in every sandbox that works here (`llmi doctor`), two tiers at a time
	$(BIN)/pytest -q -m slow tests/tools/sandbox -n 2 --dist loadgroup --durations=20

verl: $(VENV)/.verl ## tests that need verl, without the slow ones (`make test` skips them where verl is not installed)
	$(BIN)/pytest -q tests/verl tests/test_ledger_export.py tests/trainers/test_export.py -m "not slow" --durations=20

friends: $(FRIENDS)/.ready ## TorchRL, stable-baselines3 and TRL, in a virtual environment of their own (verl cannot start beside TRL)
	$(FRIENDS)/bin/pytest -q tests/friends

prepare: $(VENV)/.train ## fetch and build what the offline world needs; nothing to do when it is there
	$(BIN)/llmi prepare

%/pyvenv.cfg:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed; say which with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' || \
		{ echo "Python 3.11 or 3.12 is needed, $(PYTHON) is $$($(PYTHON) -V); say another with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $*

$(VENV)/.train: $(VENV)/pyvenv.cfg pyproject.toml constraints/main.txt
	$(PIP) -c constraints/main.txt -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) -c constraints/main.txt -e '.[dev]'
	@touch $@

$(VENV)/.verl: $(VENV)/.dev
	$(PIP) -c constraints/main.txt -e '.[verl]'
	@touch $@

# llama.cpp with its OpenAI-compatible server, for the judge's tests (what it would bring along is not needed), and OCR
$(VENV)/.server: $(VENV)/.dev
	$(PIP) -c constraints/main.txt --no-deps xllamacpp
	$(PIP) -c constraints/main.txt -e '.[ocr]'
	@touch $@

$(FRIENDS)/.ready: $(FRIENDS)/pyvenv.cfg pyproject.toml constraints/friends.txt
	$(FRIENDS)/bin/python -m pip install --disable-pip-version-check -c constraints/friends.txt -e '.[friends]'
	@touch $@

clean: ## remove the virtual environments and the tools' caches (runs/ stays)
	rm -rf $(VENV) $(FRIENDS) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist build
