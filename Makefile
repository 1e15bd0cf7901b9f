# Two commands do it all on a fresh machine: make train, make test. `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SHELL := bash
LOOP := set -eo pipefail; for

.DEFAULT_GOAL := help
.PHONY: help setup train test test-slow bench tables studies figures report reproduce-small lint clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1	\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(STAMP) ## make .venv and install the tested versions

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; make PYTHON=/path/to/python")'
	@echo "setting up $(VENV) (a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

train: $(STAMP) ## train L-Softmax on 4,000 real digits, two minutes on two cores
	@$(BIN)/python train.py

test: lint ## ruff, mypy and the tests, under 8 minutes on two cores
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto

test-slow: $(STAMP) ## the slow tests too
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto -m "slow or not slow"

bench: $(STAMP) ## time and memory, side by side with the plain layer; an idle machine, please
	@$(BIN)/python -m scripts.bench

tables: $(STAMP) ## write the paper's tables and the studies' from the committed records, without training
	@$(LOOP) n in 2 3 4 5; do $(BIN)/python scripts/reproduce.py table=$$n train=false | tail -n 1; done
	@$(LOOP) n in 2 3 4 5; do $(BIN)/python scripts/reproduce.py table=$$n train=false profile=small | tail -n 1; done
	@$(LOOP) f in configs/study/*.yaml; do $(BIN)/python scripts/reproduce.py study=$$(basename $$f .yaml) train=false | tail -n 1; done

studies: $(STAMP) ## run what is missing of all reduced studies (docs/stability.md), resumable: days on two cores
	@worst=0; for f in $$(grep -L "^profile: full" configs/study/*.yaml); do \
		OMP_NUM_THREADS=1 $(BIN)/python scripts/reproduce.py study=$$(basename $$f .yaml) trainer=fast parallel=2 $(OPTIONS) \
			|| { code=$$?; [ $$code -lt 128 ] || exit $$code; worst=$$code; }; done; exit $$worst

figures: $(STAMP) ## draw the figures from the committed records, without training
	@$(LOOP) n in psi 4 lr_lambda 2 5 6 7 roc; do $(BIN)/python scripts/reproduce.py figure=$$n train=false | tail -n 1; done
	@$(LOOP) n in 5 7; do $(BIN)/python scripts/reproduce.py figure=$$n recipes=paper train=false | tail -n 1; done
	@$(LOOP) n in 2 5 6 7 roc; do $(BIN)/python scripts/reproduce.py figure=$$n train=false profile=small | tail -n 1; done

report: tables figures ## one HTML page of all tables and figures: outputs/results/report.html
	@$(BIN)/python scripts/report.py

# A check that the parts work together, and no claim: one seed, a few hundred images, seconds for each run.
# OPTIONS go to every run: OPTIONS="data_root=... device=cpu"
reproduce-small: $(STAMP) ## tables 2 to 4, their figures and the report on a CPU in a small form, under 20 minutes on two cores
	@$(LOOP) n in table=2 table=3 table=4 figure=2 figure=5 figure=6 figure=7; do \
		OMP_NUM_THREADS=1 $(BIN)/python scripts/reproduce.py $$n profile=tiny seeds=1 parallel=2 trainer=default trainer.eval_every=8 $(OPTIONS); done
	@$(LOOP) n in figure=psi figure=4 figure=lr_lambda; do $(BIN)/python scripts/reproduce.py $$n profile=tiny; done
	@$(BIN)/python scripts/report.py profile=tiny seeds=1

lint: $(STAMP) ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy

clean: ## remove the environment and caches, never outputs/
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
