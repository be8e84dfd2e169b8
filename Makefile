# Two commands: `make demo` and `make test`. Both install into .venv first, when needed.
.PHONY: help install demo test test-slow lint clean

PYTHON ?= python3
RUN := .venv/bin/python -m
# These load runtimes and servers that other tests, which start processes of their own, should not share memory with.
APART := tests/inference/export tests/inference/writers tests/web
# What was installed is still right while the lock, the project file and the folder are the same.
STATE = $$(pwd; cat requirements.lock pyproject.toml | cksum)

help:
	@echo "make demo       install, then train, evaluate and predict on synthetic images (minutes, no GPU)"
	@echo "make test       install if needed, then lint, types and tests"
	@echo "make test-slow  the tests that train or measure for minutes"
	@echo "make clean      remove what the commands above made"

install:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python 3.11 or newer is needed, this is {sys.version.split()[0]}; call make with PYTHON=python3.11")'
	@if [ "$$(cat .venv/installed 2>/dev/null)" != "$(STATE)" ]; then \
		echo "== installing into .venv (PyTorch is large: a few minutes and several GB)"; \
		rm -f .venv/installed; \
		$(PYTHON) -m venv .venv && \
		$(RUN) pip install --quiet --disable-pip-version-check -r requirements.lock && \
		$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . && \
		printf '%s\n' "$(STATE)" > .venv/installed; \
	else echo "== .venv is up to date"; fi

demo: install
	@echo "== removing the last demonstration and making phantom images in demo/"
	@rm -rf demo
	@$(RUN) delineate data phantom demo/phantom --count 1000 --size 128 --seed 1
	@echo "== training (recipe: demo)"
	@$(RUN) delineate train demo --data demo/phantom --run demo/run
	@echo "== predicting new images"
	@$(RUN) delineate data phantom demo/new --count 8 --size 192 --seed 2
	@$(RUN) delineate predict demo/run demo/new/images --out demo/predictions --explain
	@echo "== evaluating on the held-out split"
	@$(RUN) delineate evaluate demo/run --split test

lint: install
	@echo "== lint"
	@$(RUN) ruff check src tests benchmarks tools
	@$(RUN) ruff format --check src tests benchmarks tools
	@echo "== types"
	@$(RUN) mypy

test: lint
	@echo "== tests"
	@OMP_NUM_THREADS=1 $(RUN) pytest -n auto -m "not slow" $(APART:%=--ignore=%)
	@echo "== tests of exports, writers and the service"
	@OMP_NUM_THREADS=1 $(RUN) pytest -n auto -m "not slow" $(APART)

test-slow: install
	@$(RUN) pytest -m slow

clean:
	rm -rf .venv demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
