# Every target sets up .venv by itself; the stamp makes that a no-op when nothing changed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
JOBS ?= 3
SHARE ?= 0.01
REPEAT ?= 1
N ?= 1000

# The tests start rowback hundreds of times; compiling it anew for each would take a minute.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup drill drill-all kinds regression worlds matrix soak fuzz test unit lint audit sbom bench site docs clean
setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rowback needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $(STAMP)

drill: $(STAMP)
	@$(BIN)/rowback drill

test: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

# Rehearsals that take long: the rest of the runbooks, and drills that follow one.
drill-all: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m drill -o timeout=1200

# Shapes of incidents through the whole command line, on both PostgreSQL versions; those of what was dropped on one of
# them in turns, on both with ALL=1.
kinds: $(STAMP)
	$(if $(ALL),ROWBACK_ALL_SHAPES=1) $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m kinds

# PostgreSQL's own regression database, damaged and repaired; skipped where its sources cannot be had.
regression: $(STAMP)
	$(BIN)/python -m pytest -q -m regression

# Random worlds, N of them on each version; SAME=1: the same ones each time.
worlds: $(STAMP)
	ROWBACK_EXAMPLES=$(N) $(if $(SAME),,ROWBACK_SOAK=1) $(BIN)/python -m pytest -q -n 2 -m worlds tests/properties

# Commands killed at every boundary, and every way of misleading a guard.
matrix: $(STAMP)
	$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal -m matrix

# Every parser with altered inputs, for MINUTES or INPUTS of them; the same SEED gives the same ones.
fuzz: $(STAMP)
	$(BIN)/python -m tests.fuzz $(if $(INPUTS),--inputs $(INPUTS),--minutes $(or $(MINUTES),15)) \
	  --seed $(or $(SEED),1)

# Random schedules of kills, faults, writers and second operators: SCHEDULES or MINUTES of them from SEED on, at LEVEL 1
# (command line on the lab), 2 (two databases of one server) or both; without any of these what CI runs.
soak: $(STAMP)
ifeq ($(LEVEL)$(MINUTES)$(SCHEDULES)$(SEED),)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal -m soak
else
	$(BIN)/python -m tests.soak $(if $(LEVEL),--level $(LEVEL)) $(if $(MINUTES),--minutes $(MINUTES)) \
	  $(if $(SCHEDULES),--schedules $(SCHEDULES)) $(if $(SEED),--seed $(SEED))
endif

unit: $(STAMP)
	$(BIN)/python -m pytest -q tests/unit

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.house.duplicates

# Known vulnerabilities of what is pinned, where an advisory database can be reached; and a bill of materials.
audit: $(STAMP)
	@$(BIN)/python -m tests.supply audit

sbom: $(STAMP)
	@$(BIN)/python -m tests.supply sbom

# Both sides of every claim: all scenes small, or SCENE=name at SHARE of its full size, medians of REPEAT.
bench: $(STAMP)
	@$(BIN)/python -m benchmarks.bench $(if $(SCENE),--scene $(SCENE)) --share $(SHARE) --repeat $(REPEAT)
ifeq ($(SCENE),)
	@$(BIN)/python -m benchmarks.guard_bench
	@$(BIN)/python -m benchmarks.log_bench
endif

# The documentation as a site in .site, with every link and anchor checked; its tools live in an environment of their own.
site: .venv-site/.installed
	NO_MKDOCS_2_WARNING=1 .venv-site/bin/mkdocs build --strict --quiet

.venv-site/.installed: constraints-site.txt
	$(PYTHON) -m venv .venv-site
	.venv-site/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints-site.txt
	touch $@

docs: $(STAMP)
	$(BIN)/python -m tests.docs.pages

clean:
	rm -rf $(VENV) .venv-audit .venv-site .site dist .mypy_cache .ruff_cache .pytest_cache
