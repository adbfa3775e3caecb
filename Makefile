# Two commands do everything on a fresh machine: `make demo` and `make test`.

# The lock file was resolved for Python 3.11, so that one is preferred where there are several.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 2

# nipype asks a server for its newest version at import unless told not to.
export NO_ET = 1

.PHONY: help setup system demo test coverage lint format docs lock image sbom clean

help:
	@echo "make setup     create $(VENV) and install everything, system libraries included"
	@echo "make demo      run the main job end to end on a digital brain; prints where to look"
	@echo "make test      run the tests, $(JOBS) at a time (JOBS=n for another number)"
	@echo "make coverage  run the tests and report which lines they reach"
	@echo "make lint      check style, types and the direction of imports"
	@echo "make format    put the code into the house style"
	@echo "make docs      write docs/outputs.md, docs/series_rules.md and boutiques*.json anew from what they describe"
	@echo "make lock      resolve requirements.lock anew"
	@echo "make image     build the container and hold it to this installation (as root)"
	@echo "make sbom      list what .venv holds: build/sbom/sbom.cdx.json and licences.tsv"
	@echo "make clean     remove $(VENV), caches and the demo's output"

setup: system $(STAMP)

system:
	@bash scripts/system_libraries.sh

# `system` comes first but does not make the stamp old: an unchanged setup is a matter of milliseconds.
$(STAMP): requirements.lock pyproject.toml | system
	@PYTHON="$(PYTHON)" VENV="$(VENV)" bash scripts/python_environment.sh
	@touch $@

demo: setup
	$(BIN)/cereflow-demo demo

# Each worker computes with one thread: more would only fight over the same cores.
test: export ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS = 1
test: export OMP_NUM_THREADS = 1
test: export OPENBLAS_NUM_THREADS = 1
test: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

coverage: setup
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --cov --cov-report term-missing:skip-covered

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: setup
	$(BIN)/python docs/generate_outputs.py
	$(BIN)/python docs/generate_series_rules.py
	$(BIN)/python scripts/boutiques_descriptors.py

lock:
	@PYTHON="$(PYTHON)" bash scripts/lock.sh

# No image is pulled: the base is made here. What was built before is taken from podman's store.
image: setup
	VENV="$(VENV)" bash scripts/container_check.sh image definition

sbom: setup
	mkdir -p build/sbom
	$(BIN)/python scripts/container_inventory.py $(VENV) build/sbom

clean:
	rm -rf $(VENV) build dist demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
