# make lessons   set up, then execute the whole course   (ONLY=01,03  CHANGED=1  MINUTES=20  SCALE=smoke  OUT=lessons)
# make lab       set up, then open the lessons in JupyterLab
# make test      set up, then run all tests, every lesson at smoke scale
# make coverage  tests of the library once more, with the lines and branches they reach; processes of tests included
# make lint      ruff and the import contracts
# make bench     performance against peers
# make readme    renew the table of lessons in README.md
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ONLY   ?=
CHANGED ?=
MINUTES ?=
SCALE  ?= cpu
OUT    ?=

.PHONY: lessons lab test coverage lint bench readme constraints clean
.DEFAULT_GOAL := lessons

lessons: $(VENV)/.student
	$(BIN)/python tools/build_lessons.py --scale $(SCALE) $(if $(ONLY),--only $(ONLY)) $(if $(CHANGED),--changed) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(OUT),--out $(OUT))

lab: $(VENV)/.student
	$(BIN)/jupyter lab lessons

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal --durations=40 --durations-min=4

# The lessons train too long under a tracer, and test nothing that no test tests. Kernels would count; a killed process
# does not (it writes no report), so lines that only a test of SIGKILL reaches are shown as missed.
coverage: $(VENV)/.dev
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest -q -n auto --maxprocesses 4 --dist worksteal -m "not lessons"
	@$(BIN)/python -m coverage combine --quiet
	$(BIN)/python -m coverage report

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

# Measurements against peers; the others in benchmarks/ are long runs that a lesson draws.
BENCHES := encode_stream feed_batches generate scaling

bench: $(VENV)/.dev
	@for name in $(BENCHES); do echo "== $$name"; $(BIN)/python benchmarks/$$name.py || exit 1; done

readme: $(VENV)/.student
	$(BIN)/python tools/build_lessons.py --readme

constraints: $(VENV)/.dev
	@{ echo "# The exact versions that CI ran, on Python 3.11. Renewed by: make constraints"; \
	  $(BIN)/python -m pip freeze --exclude-editable --disable-pip-version-check; } > constraints.txt

clean:
	rm -rf build $(VENV)

# A stamp is written last: an interrupted set-up is done again.
$(VENV)/.student: requirements.txt constraints.txt pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.student
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements-dev.txt
	@touch $@

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else \
		"Python %d.%d found; the course needs 3.11 to 3.13. Name one: make lessons PYTHON=python3.12" % v)'
	@echo "Setting up $(VENV): about two minutes and 4 GB, once."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=24.1"
