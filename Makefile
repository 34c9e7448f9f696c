# `make` alone lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTS ?= tests

.PHONY: help demo run check docs test soak bench lint types audit secrets lock vendor sbom release clean

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: $(VENV)/runtime ## Sandbox, console and worker with three users, on this machine alone
	@exec $(BIN)/dashboard demo

run: $(VENV)/dev ## Console and worker beside the sandbox, restarted when a file changes: for development
	@exec $(BIN)/python scripts/run_dev.py

check: $(VENV)/dev lint types ## Linters, type checker and the quick tests that need no browser and no server
	$(BIN)/pytest -m "not programs and not slow" $(TESTS)

test: programs $(VENV)/dev lint types secrets audit ## Linters, type checker, audit and all tests, with Chromium, PostgreSQL, PgBouncer, Redis and nginx
	$(BIN)/pytest $(TESTS)

soak: programs $(VENV)/dev ## Two hundred kills at random moments on either pair of engines, under load: half an hour
	CRASHES=200 $(BIN)/pytest -n 0 tests/resilience

bench: programs $(VENV)/dev ## One table: passes, watching and pages, beside what they are measured against; three quarters of an hour
	@$(BIN)/python -m bench $(PARTS)

lint: $(VENV)/dev ## Style, spelling, which package imports which, and the length of functions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --check --lint --quiet
	$(BIN)/codespell
	$(BIN)/lint-imports
	$(BIN)/pytest -n 0 -q tests/project/test_functions.py

types: $(VENV)/dev ## Type checker
	$(BIN)/mypy

audit: $(VENV)/dev ## Known weaknesses of the locked packages, where the package index knows any
	@$(BIN)/python scripts/audit_dependencies.py

secrets: $(VENV)/dev ## Look for secrets in the files of the repository
	@$(BIN)/python scripts/find_secrets.py

docs: $(VENV)/dev ## Write docs/configuration.md from the settings
	@$(BIN)/python scripts/write_configuration.py

.PHONY: programs
programs:
	@./scripts/need-programs

lock: $(VENV)/runtime ## Pin the dependencies anew, with hashes
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --extra build pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --extra build --extra sentry --extra tracing -c requirements.txt pyproject.toml -o requirements-extras.txt
	$(BIN)/uv pip compile --quiet --upgrade --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --extra build --extra dev -c requirements.txt pyproject.toml -o requirements-dev.txt

vendor: ## Fetch the vendored assets anew (needs npm)
	$(PYTHON) scripts/vendor.py

sbom: $(VENV)/dev ## What a release is made of: dist/sbom.cdx.json (CycloneDX)
	@$(BIN)/python scripts/bill_of_materials.py dist/sbom.cdx.json

release: clean-dist $(VENV)/dev secrets audit ## A wheel with everything in it, locks, deploy/, bill of materials and checksums, in dist/
	@./scripts/make-release $(BIN)/python dist && cat dist/SHA256SUMS

.PHONY: clean-dist
clean-dist:
	@rm -rf dist

clean: ## Remove the environment and what tools left
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@./scripts/make-venv "$(PYTHON)" $(VENV)

$(VENV)/runtime: $(VENV)/bin/python requirements.txt pyproject.toml
	@test -f $(VENV)/dev || $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@test -f $(VENV)/dev || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev: $(VENV)/bin/python requirements-dev.txt pyproject.toml
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
