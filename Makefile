PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install run ui test test-all lint types format docs map-js clean

help: ## List what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

install: $(VENV)/.run ## Create .venv and install the package

run: $(VENV)/.run ## Run the whole graph on the sample catalogue, into ./data
	$(BIN)/imdb-pipeline run

ui: $(VENV)/.run ## Open the Dagster UI on ./data
	$(BIN)/imdb-pipeline ui

test: $(VENV)/.dev ## Run the tests
	$(BIN)/python -m pytest -m "not extra" --numprocesses 2 --dist loadfile

test-all: $(VENV)/.extra ## Run all tests, with those that need Chromium, PostgreSQL, systemd and Ray
	$(BIN)/python -m pytest

lint: $(VENV)/.dev ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Check types
	$(BIN)/pyright

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.extra ## Build the documentation into ./site
	$(BIN)/mkdocs build --strict --site-dir site

map-js: ## Bundle the script of the map page again; needs Node.js 20 or later
	cd imdb_pipeline/results/map_page_js && npm install --no-package-lock --no-audit --no-fund && npm run build

clean: ## Remove the environment; ./data stays
	rm -rf $(VENV)

$(VENV)/.run: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV), some minutes the first time"
	@$(INSTALL) --editable '.[serve]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@$(INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/.extra: $(VENV)/.dev
	@$(INSTALL) --editable '.[docs,notebooks,postgres,ray,k8s]'
	@touch $@
