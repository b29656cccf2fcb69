# `make demo` and `make test` need only Python >= 3.10: each sets up what it uses in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# torch first and alone, so that no later requirement picks another build of it.
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
STAMP_INPUTS := pyproject.toml constraints.txt

.PHONY: demo test clean

demo: $(VENV)/demo.stamp
	$(BIN)/python tools/demo.py

test: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses 2

$(VENV)/demo.stamp: $(STAMP_INPUTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --editable '.[cpu,demo]'
	touch $@

$(VENV)/test.stamp: $(STAMP_INPUTS)
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --editable '.[cpu,test]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info out
