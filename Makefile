# Everything a person does with a checkout. Each target does the set-up it needs, and is quick the second time.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help setup run test soak lint format bench docs contracts lock clean

PYTHON := .venv/bin/python
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/bitai/target

# What pytest runs, e.g. `make test T=tests/l1`. Functional tests share one worker; everything else fills both.
T ?=
WORKERS ?= 2
PYTEST := $(PYTHON) -m pytest -n $(WORKERS) --max-worker-restart 0

help: ## Show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: ## Install everything into .venv and build the Rust core
	@tools/setup.sh python native

run: setup ## Start a chain of your own: Bitcoin, node, neuron, faucet, and ask a model a question
	@exec .venv/bin/bitai-node run --demo $(ARGS)

test: setup ## Run the whole suite (T=tests/l1 for a part)
	@tools/setup.sh node clients browser
	@$(if $(T),,cargo test --quiet --release --locked --manifest-path vm/native/Cargo.toml)
	$(PYTEST) -m "not soak" $(T)

soak: setup ## Run the long versions: many kills, many seeds
	@tools/setup.sh node
	BITAI_TEST_PROFILE=long $(PYTEST) -m "soak" --timeout 3600 $(T)

lint: ## Check style, types, layers, sizes, and that generated pages are current
	@tools/setup.sh python
	$(PYTHON) -m ruff check --quiet .
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m mypy
	@tools/lint_rust.sh
	$(PYTHON) -m pytest -q tests/arch

format: ## Rewrite the sources in the house format
	@tools/setup.sh python
	$(PYTHON) -m ruff check --fix --quiet . || true
	$(PYTHON) -m ruff format --quiet .
	@cargo fmt --manifest-path vm/native/Cargo.toml

bench: setup ## Measure, and write bench/RESULTS.md
	@tools/setup.sh node
	$(PYTHON) -m bench.run $(ARGS)

docs: setup ## Write the generated pages: errors, metrics, settings, commands
	$(PYTHON) tools/generate_docs.py

contracts: ## Compile the Solidity sources into the committed artifacts
	@tools/setup.sh node
	node contracts/build/build.mjs

lock: ## Resolve requirements.lock anew from pyproject.toml
	@tools/setup.sh python
	tools/lock.sh $(ARGS)

clean: ## Remove what set-up, build and tests left in this checkout
	rm -rf .venv .venv-web3-7 .cache .pytest_cache .hypothesis build dist tests/node/node_modules tests/node/hardhat/node_modules
	rm -f vm/_core*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
