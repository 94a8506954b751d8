# Everything runs in .venv inside the checkout, which the targets make themselves. Needed: Python 3.11+ with venv, make.
PYTHON ?= python3
BIN := .venv/bin
CPUS := $(shell nproc 2>/dev/null || echo 2)
# Tests that share a costly fixture, or something of the machine, are marked as a group, which one process runs.
IN_PARALLEL := --numprocesses $(CPUS) --dist loadgroup
BUILT_FROM := .venv/python pyproject.toml $(wildcard pyvars/core/*.c)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run how-long test coverage stress lint bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

run: .venv/installed ## start the demo service on 127.0.0.1:8000 (and its WSGI twin on 8001), and say what to curl
	$(BIN)/python -m examples.shop

how-long:
	@echo "about 2,250 tests on $(CPUS) CPUs: $$((($(CPUS) + 4) / $(CPUS))) to $$((($(CPUS) + 15) / $(CPUS))) minutes$(if \
		$(wildcard .venv/installed-test),, after one or two in which what they need is installed)"

test: how-long .venv/installed-test ## run the whole test suite on all CPUs; it says which tests it skips, and why
	$(BIN)/python -m pytest $(IN_PARALLEL)

coverage: how-long .venv/installed-test ## run the whole test suite and judge what of pyvars it runs: every line and branch
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest $(IN_PARALLEL)
	$(BIN)/python -m tests.combine
	$(BIN)/python -m coverage report

stress: .venv/installed-test ## kill workers and readers for minutes, and check every page
	PYVARS_STRESS_SECONDS=300 $(BIN)/python -m pytest tests/workers/test_kill.py

lint: .venv/installed-test ## ruff, mypy and pyright, strict
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --ignoreexternal --verifytypes pyvars

bench: .venv/installed-bench ## run the benchmarks against their peers, and print their tables
	$(BIN)/python -m tests.benchmarks

clean: ## remove what the targets made
	rm -rf .venv build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pyvars needs Python 3.11 or later: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: $(BUILT_FROM)
	$(PIP) install --config-settings editable_mode=compat -e .
	touch $@

.venv/installed-test: $(BUILT_FROM)
	$(PIP) install --config-settings editable_mode=compat -e '.[test]'
	touch $@ .venv/installed

.venv/installed-bench: $(BUILT_FROM)
	$(PIP) install --config-settings editable_mode=compat -e '.[bench]'
	touch $@ .venv/installed
