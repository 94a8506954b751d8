# All targets run in the virtual environment .venv of the checkout, and make it if it is missing. They need make, and Python
# 3.11 or later with venv.
PYTHON ?= python3
BIN := .venv/bin
CPUS := $(shell nproc 2>/dev/null || echo 2)
# Tests that share a costly fixture or a resource of the machine are marked as a group; one process runs the whole group.
IN_PARALLEL := --numprocesses $(CPUS) --dist loadgroup
BUILT_FROM := .venv/python pyproject.toml $(wildcard pyvars/core/*.c)
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run how-long test coverage stress sanitize lint dist pictures bench clean

help: ## list the targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

run: .venv/installed ## start the demo shop with four workers on 127.0.0.1:8000, or on PORT=..., and print its URLs
	@$(BIN)/python -m examples.busy_shop $(PORT)

how-long:
	@echo "about 5,200 tests on $(CPUS) CPUs: $$((($(CPUS) + 8) / $(CPUS))) to $$((($(CPUS) + 24) / $(CPUS))) minutes"

test: how-long .venv/installed-test ## run the whole test suite on all CPUs, and list the skipped tests with their reasons
	$(BIN)/python -m pytest $(IN_PARALLEL)

coverage: how-long .venv/installed-test ## run the whole test suite, and fail unless it covers all lines and branches of pyvars
	rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest $(IN_PARALLEL)
	$(BIN)/python -m tests.combine
	$(BIN)/python -m coverage report

stress: .venv/installed-test ## for 5 minutes kill, stop and reload workers, close their files, fill their disk; check each page
	PYVARS_STRESS_SECONDS=300 $(BIN)/python -m pytest tests/workers/test_kill.py

# Builds the C extension of the cells in a copy of the tree, with ASan, which checks each memory access, and UBSan, which
# checks for undefined behaviour. Both end a process that fails a check. PYTHONMALLOC=malloc, because ASan does not see the
# blocks in pymalloc's pools; detect_leaks=0, because CPython itself leaks memory at its exit. Two kinds of tests are left
# out: those of the cells in Python, and those that fork a process with threads, where ASan's malloc may wait for ever.
# Then a fuzzer calls all functions of the cells, for PYVARS_FUZZ_SECONDS (20 if not set).
CHECKED := build/sanitized
CHECKS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
sanitize: .venv/installed-test ## run the tests of the C extension, and a fuzzer, under ASan and UBSan (needs gcc)
	rm -rf $(CHECKED) && mkdir -p $(CHECKED) && cp -R pyvars tests pyproject.toml $(CHECKED)
	rm -f $(CHECKED)/pyvars/core/*.so
	gcc -shared -fPIC -g -O1 $(CHECKS) $$($(BIN)/python -c 'from sysconfig import get_path; print("-I" + get_path("include"))') \
		pyvars/core/_cells.c -o $(CHECKED)/pyvars/core/_cells.so
	cd $(CHECKED) && export LD_PRELOAD=$$(gcc -print-file-name=libasan.so) PYTHONMALLOC=malloc PYTHONPATH=$$PWD \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 && \
	$(CURDIR)/$(BIN)/python -c 'import pyvars; assert pyvars.native and "$(CHECKED)/" in pyvars.__file__' && \
	$(CURDIR)/$(BIN)/python -m pytest $(IN_PARALLEL) -k 'not [python and not goes_on_by_itself' \
		tests/core $(addprefix tests/workers/,test_damage.py test_forks.py test_moments.py test_names.py test_segments.py) && \
	PYVARS_FUZZ_SECONDS=$${PYVARS_FUZZ_SECONDS:-20} $(CURDIR)/$(BIN)/python -m tests.core.fuzz_cells

lint: .venv/installed-test ## run ruff, and mypy and pyright in strict mode
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright
	PYRIGHT_PYTHON_IGNORE_WARNINGS=1 PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --ignoreexternal --verifytypes pyvars

dist: .venv/installed-dist ## build the source distribution and the wheel of this Python into dist/, and check them
	rm -rf dist build
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*

pictures: .venv/installed-test ## take the pictures of the page in examples/pictures (needs chromium; eleven minutes)
	$(BIN)/python -m tests.dashboard.pictures

bench: .venv/installed-bench ## run the benchmarks, which compare pyvars with other libraries, and print tables
	$(BIN)/python -m tests.benchmarks

clean: ## remove what the targets made
	rm -rf .venv build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "pyvars needs Python 3.11 or later: make PYTHON=python3.12")'
	@echo "making a virtual environment in .venv: about 5 seconds"
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: $(BUILT_FROM)
	@echo "installing pyvars and what it needs into .venv: about 15 seconds"
	@$(PIP) install --config-settings editable_mode=compat -e .
	@touch $@

# One rule for the environments of all other targets: installed-test has the extra `test`.
.venv/installed-%: $(BUILT_FROM)
	@echo "installing pyvars and its extra '$*' into .venv: a minute or two"
	@$(PIP) install --config-settings editable_mode=compat -e '.[$*]'
	@touch $@ .venv/installed
