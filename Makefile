# Everything that a fresh machine needs is set up by the targets themselves: only Python 3.11+ and make
# have to be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Each process holds its own large nets, so there are not more than a few.
PARALLEL := --numprocesses auto --maxprocesses 4

.PHONY: demo test test-all lint docs bench clean

demo: $(VENV)/.core
	$(BIN)/caffe2lrp explain models/digits/*.png --out demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL)

# mypy sees a package whose folders are mapped only where it is installed.
lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf .lint build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target .lint .
	cd .lint && ../$(BIN)/python -m mypy --config-file ../pyproject.toml -p caffe2lrp
	rm -rf .lint build

# The site: open site/index.html. Warnings, broken links and missing anchors are errors.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) .lint .docs build dist demo site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.core: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("caffe2lrp needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[docs]"
	touch $@
