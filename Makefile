# Each target makes what it needs, the virtual environment included. `make demo` and `make test` are all the set-up there is.
VENV ?= .venv
PYTHON ?= python3
WORKERS ?= 2
BIN := $(VENV)/bin

.PHONY: help demo test lint docs browser clean
help:
	@echo "make demo   what the shipped models make of real photographs, and where they looked"
	@echo "make test   all tests: the quick ones, then the slow ones"
	@echo "make lint   ruff, its formatter, mypy --strict"
	@echo "make docs   the documentation, into docs/_build/html"
	@echo "make browser  Chromium from apt, for the test of the HTML page (needs root; the test is skipped without it)"
	@echo "make clean  remove $(VENV) and what was built"

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one: make demo PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "python3 -m venv failed; on Debian: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet --disable-pip-version-check uv

# A stamp per set of extras: installing again only when pyproject.toml has changed.
$(VENV)/.installed-demo: EXTRAS = [demo,train,detection,video]
$(VENV)/.installed-test: EXTRAS = [test]
$(VENV)/.installed-docs: EXTRAS = [test,docs]
$(VENV)/.installed-%: pyproject.toml | $(BIN)/uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet -e ".$(EXTRAS)"
	@touch $@

demo: $(VENV)/.installed-demo
	$(BIN)/sparsevision demo

# Run with the shapes of annotations checked. That draws random numbers: runs that are resumed to the bit are not.
SHAPED := tests/kernels tests/packing tests/models tests/house/test_models.py
test: export OMP_NUM_THREADS = 1
# Tests start many processes, which would otherwise compile PyTorch's modules each.
test: export PYTHONDONTWRITEBYTECODE =
test: $(VENV)/.installed-docs
	$(BIN)/pytest -q -n $(WORKERS) -m "not slow" --check-shapes $(SHAPED)
	$(BIN)/pytest -q -n $(WORKERS) -m "not slow" $(SHAPED:%=--ignore=%)
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

browser:
	@if command -v chromium chromium-browser google-chrome >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null \
	    || echo "Chromium could not be installed: the test of the HTML page will be skipped."; \
	else echo "No Chromium, and no root to install it with apt: the test of the HTML page will be skipped."; fi

clean:
	rm -rf $(VENV) build dist docs/_build .pytest_cache .mypy_cache .ruff_cache
