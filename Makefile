# The venv is made once, and again when the pins change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AS_ROOT := $(if $(filter 0,$(shell id -u)),,sudo)

help:  ## list these commands
	@awk -F ':.*## ' '/^##@/ {print "\n" substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use

quickstart: $(VENV)/installed  ## install, train on the embedded digits (no download), show the result
	@$(BIN)/python train.py data=digits trainer.max_epochs=20
	@echo "Next: source $(VENV)/bin/activate, then: python train.py model.hidden=512 data=fashion"

board: $(VENV)/installed  ## show all runs in TensorBoard; LOGDIR=outputs/sweeps/NAME for some
	@$(BIN)/tensorboard --logdir $(or $(LOGDIR),outputs)

results: $(VENV)/installed  ## train the quick recipes and compare them with published results; RECIPES="..." for others
	@$(BIN)/python scripts/results/main.py $(RECIPES)

clean:  ## delete the venv and caches; runs in outputs/ stay
	rm -rf $(VENV) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

##@ Develop

test: $(VENV)/installed-dev  ## lint, types, import rules and tests; on real data too, if MLPLAB_DATA is set
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slurm: $(VENV)/installed-cluster  ## run a sweep on a temporary one-node SLURM cluster (Debian; 3 minutes)
	@PATH="$$PATH:/usr/sbin"; type slurmctld slurmd munged > /dev/null || { \
		command -v apt-get > /dev/null || { echo "SLURM is needed: slurmctld, slurmd, munged; see your system"; exit 2; }; \
		echo "Installing Debian's slurm-wlm and munge"; \
		$(AS_ROOT) apt-get update -qq && \
		$(AS_ROOT) apt-get install --yes --no-install-recommends -qq slurm-wlm munge; }
	$(BIN)/python tests/sweeps/slurm/cluster.py $(BIN)/python -m pytest tests/sweeps/slurm

format:  ## format the code and fix its lint
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

torture: $(VENV)/installed-dev  ## kill and damage runs, and compare them with undisturbed ones (15 minutes)
	PYTHONPATH=tests $(BIN)/python tests/torture --publish src/mlplab/runs/README.md

benchmark: $(VENV)/installed-bench  ## compare the speed with Keras and JAX (20 minutes)
	$(BIN)/python scripts/benchmark

search-benchmark: $(VENV)/installed-dev  ## compare the search with others, on recorded curves and live (20 minutes)
	$(BIN)/python scripts/search_benchmark/benchmark.py

pictures: $(VENV)/installed-dev  ## draw the pictures of the pages again (2 minutes; needs Chromium)
	$(BIN)/python scripts/pictures/make.py

lock: $(VENV)/installed-dev  ## update the pinned dependencies, with hashes
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header \
		--no-annotate --quiet --output-file requirements.lock

$(VENV)/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		{ echo "Python 3.11, 3.12 or 3.13 is needed, and $(PYTHON) is another version: make PYTHON=python3.12 ..."; exit 2; }
	@echo "Installing into $(VENV): a few minutes, 6 GB with the CUDA libraries on Linux"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[dev,search,export]'
	@touch $@

$(VENV)/installed-cluster: $(VENV)/installed-dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[cluster]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[bench]'
	@touch $@

.PHONY: help quickstart board results clean test test-slurm format torture benchmark search-benchmark pictures lock
.DEFAULT_GOAL := help
