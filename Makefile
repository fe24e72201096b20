# Everything a developer runs. `make help` lists the verbs.
#
# PYTHON=python3.13            which interpreter makes .venv (3.11 or newer)
# PIP_ARGS="--index-url …"     more for pip, for example torch's CPU-only index
# PYTEST_ARGS="-k mask"        more for pytest

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
PIP_ARGS ?=
PYTEST_ARGS ?=
BIN := .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(PIP_ARGS)

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-load test-faults lint format docs bench wheel clean
.DELETE_ON_ERROR:

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: .venv/.base ## fill holes in three sample photographs; needs no torch
	@$(BIN)/python examples/demo.py

test: lint ## everything CI runs: lint, then the quick tests, on all cores
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(PYTEST_ARGS)

test-slow: .venv/.dev ## the tests that take minutes
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

test-load: .venv/.dev ## many clients at once
	$(BIN)/python -m pytest -m load $(PYTEST_ARGS)

test-faults: .venv/.faults ## kills, full disks, mutated files
	$(BIN)/python -m pytest -m faults $(PYTEST_ARGS)

lint: .venv/.dev ## ruff (rules and layout) and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.dev ## let ruff lay the code out and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/.docs ## build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/.dev ## training speed against the plain loop
	$(BIN)/python benchmarks/training.py

wheel: .venv/.base ## build dist/infilling-*.whl
	$(PIP) build
	rm -rf build dist
	$(BIN)/python -m build --wheel --outdir dist .
	@ls dist/*.whl

clean: ## remove everything that these verbs made, .venv too
	rm -rf .venv build dist demo site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf src/*.egg-info

# One environment for all verbs; a stamp file says what is in it, and is older than what changes that.
.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "no Python 3.11 or newer found: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.base: pyproject.toml constraints.txt | .venv/bin/python
	$(PIP) --editable .
	@touch $@

.venv/.dev: .venv/.base
	$(PIP) --editable '.[dev]'
	@touch $@

.venv/.docs: .venv/.base
	$(PIP) --editable '.[docs]'
	@touch $@

.venv/.faults: .venv/.dev
	$(PIP) --editable '.[ray]'
	@touch $@
