# Each target sets up what it needs in .venv; nothing but Python 3.10+ with venv has to be on the machine.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check docs bench clean

demo: .venv/ready-package  ## run a prompt, a stream, two workflows, a callback and an agent against the sandbox
	$(BIN)/python examples/demo.py

test: .venv/ready-test  ## run the tests; the package has to be covered to the last branch
	$(BIN)/python -m pytest --cov --cov-report=term-missing --cov-fail-under=100

check: .venv/ready-test .venv/ready-check  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: .venv/ready-docs  ## build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/ready-package  ## time a call beside plain httpx, as ratios in one run
	$(BIN)/python benchmarks/calls.py

clean:
	rm -rf .venv site dist

.venv/ready-package: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[sandbox]'
	touch $@

.venv/ready-%: requirements/%.txt .venv/ready-package
	$(PIP) --requirement $<
	touch $@
