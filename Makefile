# Two commands need nothing but Python >= 3.11, pip, git and make: `make demo` and `make test`.
#   make test STRICT=1        all shards; what could not be run is a failure (this is what CI runs)
#   make test SHARD=tests     one shard
#   SYSTEM_PACKAGES=1         lets tests take servers from the system's packages, installing them if need be

PYTHON ?= python3
export STRICT SHARD SYSTEM_PACKAGES

.DEFAULT_GOAL := help
.PHONY: help demo test lint fix docs bench wheel lock clean bootstrap-demo bootstrap-test

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: bootstrap-demo ## Set up, then show the main job: scaffold, test, gate, measure, evidence
	@UV_CACHE_DIR="$${UV_CACHE_DIR:-$(CURDIR)/.cache/uv}" PIP_CACHE_DIR="$${PIP_CACHE_DIR:-$(CURDIR)/.cache/pip}" \
	COMPANYOS_CACHE_DIR="$${COMPANYOS_CACHE_DIR:-$(CURDIR)/.cache/companyos}" .venv/bin/companyos demo

test: bootstrap-test ## Set up, then test; STRICT=1 runs everything, SHARD=name one part
	@.venv/bin/python scripts/test.py

lint: bootstrap-test ## Style, types, floors, and text that can drift
	@.venv/bin/python scripts/checks.py lint
	@.venv/bin/python scripts/checks.py types

fix: bootstrap-test ## Mend what can be mended: format, simple findings, generated text
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format --quiet .
	@.venv/bin/python scripts/docs.py --write

docs: bootstrap-test ## Generate what is generated in docs/, then run the code of every page
	@.venv/bin/python scripts/docs.py --write
	@.venv/bin/nox --non-interactive -s docs

bench: bootstrap-test ## Measure against the bars; figures in build/bench/
	@.venv/bin/nox --non-interactive -s bench

wheel: bootstrap-demo ## Build the wheel of this tree into dist/
	@.venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

lock: bootstrap-test ## Pin again what each environment installs (UPGRADE=1: the newest versions)
	@.venv/bin/python scripts/lock.py $(if $(UPGRADE),--upgrade)

clean: ## Remove everything that was made here
	rm -rf .venv .nox .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

bootstrap-demo:
	@$(PYTHON) scripts/bootstrap.py demo

bootstrap-test:
	@$(PYTHON) scripts/bootstrap.py test
