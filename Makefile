# Two commands matter to a newcomer: `make demo` and `make test`. Everything lives in virtual environments of this folder.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .demo/venv
PYTEST_ARGS ?=

# Building llama-cpp-python takes minutes the first time; pip keeps the wheel. Its image tools are not needed.
export CMAKE_ARGS ?= -DLLAVA_BUILD=OFF

.PHONY: help install check fix test test-slow test-model test-ui test-services bench docs demo ui-build ui-check clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

install: $(VENV)/.installed  ## Make .venv with every extra and the tools of development

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[all,dev]'
	touch $@

check: install  ## Lint, formatting, layers and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

fix: install  ## Repair what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: install  ## The fast tests: no model, no browser, no server programs
	$(BIN)/python -m pytest -m "not slow and not model and not browser and not service" $(PYTEST_ARGS)

test-slow: install  ## Tests that take more than a few seconds
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

test-model: install  ## Tests that run the bundled model
	$(BIN)/python -m pytest -m model $(PYTEST_ARGS)

test-ui: install  ## Tests that drive a headless Chromium
	$(BIN)/python -m pytest -m browser $(PYTEST_ARGS)

test-services: install  ## Tests that start PostgreSQL and other programs of the system
	$(BIN)/python -m pytest -m service $(PYTEST_ARGS)

bench: install  ## Measure batch speed and memory; prints ratios
	$(BIN)/python benchmarks/batch/measure.py

docs: install  ## Regenerate docs/cli.md and docs/errors.md
	$(BIN)/python tests/support/pages.py

demo: $(DEMO)/.installed  ## Run a flow on the bundled model, evaluate it, and compare two prompts
	rm -rf .demo/home
	PATH="$(CURDIR)/$(DEMO)/bin:$$PATH" PFL_HOME="$(CURDIR)/.demo/home" sh flows/sentiment/demo.sh

$(DEMO)/.installed: pyproject.toml
	test -x $(DEMO)/bin/python || $(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/python -m pip install --quiet --editable '.[local,eval]'
	touch $@

ui-check:  ## Does rebuilding the studio's components give the committed bytes? (needs Node)
	cd ui/frontend && npm ci --silent && ./check-build.sh

ui-build:  ## Rebuild the studio's components (needs Node)
	cd ui/frontend && npm ci --silent && node build.mjs

clean:  ## Remove everything that was made here
	rm -rf $(VENV) .venv-* .demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
