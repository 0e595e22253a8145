# Each verb works on a fresh clone by itself: it makes the environment in .venv that it needs.
PYTHON ?= python3
PIP = .venv/bin/python -m pip --disable-pip-version-check --quiet

.PHONY: demo serve test test-all check bench install clean

# Base dependencies only: no torch.
demo: .venv/base
	@.venv/bin/vitrine demo

# The page and the HTTP API, on 127.0.0.1 until Ctrl-C; the demo's catalogue is made first if it is not there.
serve: .venv/base
	@.venv/bin/vitrine serve --open

# What the README promises: about seven minutes on two cores.
test: .venv/dev
	.venv/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

# All of it, what takes longer too.
test-all: .venv/dev
	.venv/bin/python -m pytest -n 2 --dist loadfile

check: .venv/dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

# Each benchmark prints its own conditions; see benchmarks/README.md.
bench: .venv/dev
	.venv/bin/python benchmarks/speed.py

# Everything: training and development too.
install: .venv/dev

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit("vitrine needs Python 3.11 or newer; name one with: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv .venv
	@touch $@

.venv/base: .venv/python pyproject.toml constraints.txt
	@echo "Installing vitrine into .venv ..."
	@$(PIP) install -c constraints.txt -e .
	@touch $@

.venv/dev: .venv/python pyproject.toml constraints.txt
	@echo "Installing vitrine with training and development tools into .venv ..."
	@$(PIP) install -c constraints.txt -e '.[train,parquet,scale,dev]'
	@touch $@ .venv/base
