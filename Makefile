# make demo   set up, run a web server in a container from a Debian image, clean up
# make test   set up, run the whole suite with the linters
# Everything needs Linux, make and Python 3.11 or newer; as root only what compares with
# a Docker is skipped (tests/compat/test_side_by_side.py), unless JUBAKO_TEST_DOCKER says how to call it.

# PYTHON=/path/to/python3 names another interpreter; see scripts/setup.
export PYTHON

PYTEST_ARGS ?=
JOBS ?= 2

.PHONY: help setup demo test lint bench clean

help:
	@sed -n '1,4s/^# \{0,1\}//p' Makefile
	@echo 'make setup  only set up: Debian packages that are missing, and .venv'
	@echo 'make lint   ruff, mypy and the import rules'
	@echo 'make bench  compare with a Docker: see bench/README.md'
	@echo 'make clean  remove .venv and every cache'

setup:
	@scripts/setup dev

demo:
	@scripts/setup run
	@.venv/bin/python scripts/demo

test: setup
	@.venv/bin/python -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

lint: setup
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports

bench:
	@scripts/setup run
	@.venv/bin/python bench/compare $(BENCH_ARGS)

clean:
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find src tests bench scripts -name __pycache__ -type d -prune -exec rm -rf {} +
