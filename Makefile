# germane from a fresh clone: `make demo` (the answer on a simulated marketplace), `make test` (every test, all extras).
# A second call installs nothing. Where make is missing, README.md gives the same steps with pip.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
EXTRAS := web,postgres,warehouse,engines,llm,train,serve,scale,dev
WORKERS ?= 2

# uv does not read pip's setting for local wheels (for example a CPU build of torch): pass it on when it is set.
ifneq ($(PIP_FIND_LINKS),)
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
INSTALL := $(BIN)/uv pip install --quiet --python $(VENV)

.PHONY: demo annotate tour esci marketplace languages signal test test-fast simulations lint format types docs docs-write bench clean help
.DEFAULT_GOAL := help

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

demo: $(VENV)/.core  ## set up the core and answer one question on a simulated marketplace: demo/report.html
	$(BIN)/germane demo --out demo

annotate: $(VENV)/.all  ## judge the demo's pairs in a browser: prints an address, and logins of two raters and an owner
	$(BIN)/germane annotate

tour: $(VENV)/.all  ## the whole story on a simulated marketplace, from golden votes to an alert: tour/index.html
	$(BIN)/germane tour --out tour

esci: $(VENV)/.all  ## judges of product search from human labels, out of fold (GERMANE_DATA, GERMANE_MODELS; best with a GPU)
	$(BIN)/python recipes/esci.py --out esci

marketplace: $(VENV)/.all  ## 50,000 simulated labels, the whole validation table and its ceiling (best with a GPU)
	$(BIN)/python recipes/marketplace.py --out marketplace

languages: $(VENV)/.all  ## a judge trained on English read in German, Spanish and Japanese (best with a GPU)
	$(BIN)/python recipes/languages.py --out languages

signal: $(VENV)/.all  ## the four uses of the signal on ESCI by people's labels, and uniform against adaptive on the simulated marketplace
	$(BIN)/python recipes/signal_esci.py --out signal
	$(BIN)/python recipes/signal_marketplace.py --out signal/marketplace

test: $(VENV)/.all  ## set up everything and run all tests, the examples in the documentation included
	$(BIN)/pytest -n $(WORKERS) -q

simulations: $(VENV)/.all  ## the Monte Carlo tests at full size, and the tables of the docs that come from simulations
	$(BIN)/pytest -n $(WORKERS) -q -m simulation --whole
	for table in docs/coverage_*.py docs/ladders.py; do $(BIN)/python $$table || exit 1; done
	if [ -n "$$GERMANE_DATA" ]; then $(BIN)/python docs/audits_esci.py; else echo "docs/audits_esci.py needs GERMANE_DATA: left out"; fi

lint: $(VENV)/.all  ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.all  ## rewrite the code in the house format
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: $(VENV)/.all  ## mypy --strict on src
	$(BIN)/mypy

docs: $(VENV)/.all  ## build the site; a warning is an error (the examples run in `make test`)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs-write: $(VENV)/.all  ## write what is generated: docs/cli.md and the outputs of the notebook
	$(BIN)/python docs/generate.py

bench: $(patsubst benchmarks/%.py,bench-%,$(wildcard benchmarks/*.py))  ## every speed claim against its peer; bench-NAME for one

bench-%: $(VENV)/.bench
	$(BIN)/python benchmarks/$*.py

clean:  ## remove what was built here, the environment included
	rm -rf $(VENV) build dist site demo tour esci marketplace languages signal .mypy_cache .pytest_cache .ruff_cache .hypothesis

# --- environments: one stamp for each size, so that a second call does not install again -------------------------------

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
	  { echo "germane needs Python 3.11, 3.12 or 3.13; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.8"

$(VENV)/.core: pyproject.toml | $(BIN)/uv
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.all: pyproject.toml | $(BIN)/uv
	$(INSTALL) --editable ".[$(EXTRAS)]"
	@touch $@ $(VENV)/.core

$(VENV)/.bench: $(VENV)/.all
	$(INSTALL) --group bench
	@touch $@
