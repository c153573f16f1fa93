# Each target sets up what it needs in .venv; nothing but Python 3.10+ with venv has to be on the machine.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test test-browser check docs bench guard trust trust-quick fuzz soak clean

demo: .venv/ready-package  ## run a prompt, a stream, two workflows, a callback and an agent against the sandbox
	$(BIN)/python examples/demo.py

test: .venv/ready-test  ## run the tests; the package has to be covered to the last branch
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses auto
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --fail-under=100

test-browser: .venv/ready-test .venv/ready-browser  ## walk through the run log in a real Chromium, which has to be there
	FETCH_HIVE_BROWSER_TESTS=require $(BIN)/python -m pytest tests/test_browser.py

check: .venv/ready-test .venv/ready-check  ## lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

docs: .venv/ready-docs  ## build the documentation into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/ready-package .venv-bench/ready  ## measure all beside httpx, openai, anthropic and 0.4.1; writes docs/performance.md
	.venv-bench/bin/python benchmarks/run.py --sandbox-python $(BIN)/python --save .venv-bench/figures.json $(BENCH)

guard: .venv/ready-package  ## whether a call, a stream, a callback or an import became much dearer beside plain httpx
	$(BIN)/python benchmarks/guard.py

trust: .venv/ready-test .venv/ready-trust .venv-bench/ready  ## the promises as figures, beside the peers'; writes docs/reliability.md
	$(BIN)/python -m trust.run --peers-python .venv-bench/bin/python --save .venv-bench/trust.json $(TRUST)

trust-quick: .venv/ready-test .venv/ready-trust  ## a small part of each of them, without the peers
	$(BIN)/python -m trust.run --quick

fuzz: .venv/ready-test .venv/ready-fuzz  ## look for inputs that break a promise, for minutes; guided by coverage where that can be had
	$(BIN)/python -m trust.fuzz $(FUZZ)

soak: .venv/ready-package  ## 200 clients for a minute against the sandbox, then again with a kill in the middle
	$(BIN)/python benchmarks/sandbox_soak.py
	$(BIN)/python benchmarks/sandbox_soak.py --kill

clean:
	rm -rf .venv .venv-bench site dist

.venv/ready-package: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable '.[sandbox]'
	touch $@

.venv/ready-%: requirements/%.txt .venv/ready-package
	$(PIP) --requirement $<
	touch $@

# The peers pull many packages, and 0.4.1 has this package's import name: neither may come near the tests.
.venv-bench/ready: pyproject.toml requirements/bench.txt
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --editable . --requirement requirements/bench.txt
	rm -rf .venv-bench/fetch-hive-sdk-0.4.1
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target .venv-bench/fetch-hive-sdk-0.4.1 fetch-hive-sdk==0.4.1
	touch $@
