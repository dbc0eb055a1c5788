# nfsleuth: everything that a developer runs. `make` alone lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help setup demo test quick lint format bench bench-small fuzz accuracy weights findings contrast-findings docs golden lock clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "nfsleuth needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "python3 -m venv failed; on Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@$(BIN)/python -m compileall -q src/nfsleuth  # as pip does for all but editable installs: no command compiles first
	@touch $@

setup: $(STAMP)  ## make .venv from the lock file, with everything that is needed

demo: setup  ## who mounts what in the capture of an office
	@$(BIN)/nfsleuth identify tests/captures/office.pcapng

test: setup  ## all tests that this machine can run, with reasons for those that it cannot
	$(BIN)/python -m pytest

quick: setup  ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow"

lint: setup  ## ruff and strict types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff put the layout right
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup  ## generate large captures, time nfsleuth and its peers on them
	$(BIN)/python bench/run.py

bench-small: setup  ## the same on small ones, to check that the counts are exact
	$(BIN)/python bench/run.py --small

fuzz: setup  ## mutate packets for SECONDS (default 300)
	$(BIN)/python fuzz/fuzz.py --seconds $(or $(SECONDS),300)

accuracy: setup  ## confusion matrix and calibration over the labelled captures in tests/captures
	$(BIN)/python tools/accuracy.py

weights: setup  ## what the labelled captures say about each weight, and whether fitting helps
	$(BIN)/python tools/weights.py

findings: setup  ## what the lab's captures show of each claim of docs/findings-lab.md
	@$(BIN)/python tools/findings.py

contrast-findings: setup  ## docs/findings.md; NFSLEUTH_CAPTURES names a folder with more labelled captures
	$(BIN)/python tools/contrast_findings.py

docs: setup  ## docs/evidence.md, docs/cli.md and the tables of docs/lab.md from the sources
	$(BIN)/python tools/make_docs.py
	$(BIN)/python tools/make_lab_docs.py

golden: setup  ## write what identify says about the captures in the repository; review the difference
	$(BIN)/python -m pytest tests/test_golden.py --golden

lock:  ## resolve the dependencies anew into requirements.lock
	$(BIN)/python -m uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url \
		--no-annotate --python-version 3.11 --all-extras --group dev pyproject.toml -o requirements.lock

clean:  ## remove what make made
	rm -rf $(VENV) bench/data .pytest_cache .mypy_cache .ruff_cache .hypothesis
