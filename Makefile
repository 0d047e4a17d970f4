# Everything a newcomer needs: `make run` and `make test`. Works with Python >= 3.11 and make alone.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
# Two `make` at once must not install into one .venv; where there is no flock, start them one after the other.
LOCK := $(if $(shell command -v flock),flock .stack/install.lock,)

.PHONY: help install run test test-unit lint types bench bench-transport chaos chaos-transport chaos-effects model mutations peer-suites clean
.DEFAULT_GOAL := help

help:
	@echo "make run        start the whole local stack with a demo, until Ctrl-C"
	@echo "make test       run every test on a stack of its own"
	@echo "make test-unit  run the tests that need no services"
	@echo "make lint       check style and form"
	@echo "make types      check types"
	@echo "make bench      measure throughput and latency"
	@echo "make bench-transport  compare the Kafka transport with Celery on Redis and kombu's own"
	@echo "make chaos      meet every fault of the pipeline with 20 seeds (long; goes on where it was interrupted)"
	@echo "make chaos-transport  kill consumers and brokers under 100,000 messages and judge by what was worked"
	@echo "make chaos-effects  kill workers at every moment of 200 tool calls and judge the effect ledger"
	@echo "make model      compare the pipeline with a model of it, step by step, for as long as you like"
	@echo "make mutations  take guards out one at a time and see their tests fail"
	@echo "make peer-suites  run kombu's and Celery's own integration suites on the Kafka transport"
	@echo "make clean      end the stacks of this clone and delete what was made (caches of the user stay)"

install:
	@mkdir -p .stack
	@+$(LOCK) $(MAKE) -s --no-print-directory $(STAMP)

$(STAMP): requirements.txt constraints.txt setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("SentinAI needs Python 3.11 or newer: make PYTHON=python3.11 ..." if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c constraints.txt -e .
	@touch $@

run: install
	@$(BIN)/sentinai stack up --profile dev --demo

test: install
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

test-unit: install
	@$(BIN)/python -m pytest tests/unit -n auto $(PYTEST_ARGS)

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: install
	@$(BIN)/mypy

mutations: install
	@$(BIN)/python -m tests.mutations $(MUTATION)

peer-suites: install
	@$(BIN)/python -m tests.peers $(PEER_ARGS)

bench: install
	@$(BIN)/sentinai bench $(BENCH_ARGS)

chaos: install
	@$(BIN)/sentinai chaos all --seeds 20 $(CHAOS_ARGS)

chaos-transport: install
	@$(BIN)/python -m tests.chaos.transport $(CHAOS_ARGS)

chaos-effects: install
	@$(BIN)/python -m tests.chaos.effects $(CHAOS_ARGS)

model: install
	@$(BIN)/python -m tests.integration.model $(MODEL_ARGS)

bench-transport: install
	@$(BIN)/python -m tests.benchmarks.transport $(BENCH_ARGS)

clean:
	@if test -x $(BIN)/sentinai; then for state in .stack/*/state.json; do \
		test -e "$$state" || continue; $(BIN)/sentinai stack down --remove --name "$$(basename "$$(dirname "$$state")")" || exit 1; done; fi
	@rm -rf .stack $(VENV) build ./*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
