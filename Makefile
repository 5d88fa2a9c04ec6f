# Two commands on a fresh machine with Python 3.11+: `make demo` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n auto --dist worksteal

.PHONY: demo test test-slow lint check format reproduce-quick clean

demo: $(STAMP)  ## train, certify and report on embedded real data
	$(BIN)/noiseproof demo

test: $(STAMP)  ## the tests, in minutes
	$(PYTEST) -m "not slow"

test-slow: $(STAMP)  ## those that need longer: many kills, whole reproductions, large studies of coverage
	$(PYTEST) -m slow

lint: $(STAMP)  ## format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint test test-slow  ## what CI runs

format: $(STAMP)  ## rewrite the code in the house's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

reproduce-quick: $(STAMP)  ## every table and figure of the paper from the committed records: no data, no training
	$(BIN)/noiseproof reproduce all --records reproduction/records --out runs/reproduction

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

# One installation, repeated only when the pinned versions or the package's own metadata change.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "noiseproof needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) cannot create a virtual environment; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
