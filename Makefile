# make demo    the literature pipeline on sample papers, with simulated services
# make test    the tests
# make check   style, types, and which module may import which
# make bench   the benchmarks; QUICK=1 takes under a minute
#
# Each sets up .venv by itself; the first time that needs the package index, the second time it is quick.
# PYTHON=… chooses the interpreter that .venv is made with; `make constraints` tries newer dependencies.

PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: help demo test check bench constraints clean

help:
	@sed -n '/^$$/q; s/^# //p' Makefile

demo: .venv/run.stamp
	$(BIN)/streamflow demo literature -w demo/literature

test: .venv/dev.stamp
	$(BIN)/python -m pytest -q -n auto

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/bench.stamp
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

# Tries newer versions of everything and writes down the ones that were found.
constraints:
	rm -rf .venv/fresh
	$(PYTHON) -m venv .venv/fresh
	.venv/fresh/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	.venv/fresh/bin/python -m pip install --quiet --editable '.[literature,bench,fast]' --group dev
	.venv/fresh/bin/python -m pip freeze --exclude-editable | tr 'A-Z_' 'a-z-' | LC_ALL=C sort > constraints.txt
	rm -rf .venv/fresh

clean:
	rm -rf .venv demo dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

# A half-made .venv has no stamp, so the next make finishes it.
.venv/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "streamflow needs Python 3.11 or newer, and $(PYTHON) is not." \
	    "Install one and name it: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: its venv module is missing." \
	    "On Debian and Ubuntu the package python3-venv has it; or name another: make PYTHON=…" >&2; exit 1; }
	@echo "Setting up .venv …" >&2
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/run.stamp: .venv/made.stamp pyproject.toml constraints.txt
	@$(PIP) --editable '.[literature]'
	@$(BIN)/python -m compileall -q streamflow stages
	@touch $@

# Dependency groups need pip 25.1.
.venv/dev.stamp: .venv/made.stamp pyproject.toml constraints.txt
	@$(PIP) --upgrade 'pip>=25.1'
	@$(PIP) --editable '.[literature]' --group dev
	@touch $@ .venv/run.stamp

.venv/bench.stamp: .venv/made.stamp pyproject.toml constraints.txt
	@$(PIP) --editable '.[literature,bench,fast]'
	@touch $@ .venv/run.stamp
