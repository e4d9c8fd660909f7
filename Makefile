# Everything that is done with this project has one command here; `make` alone lists them.
# It needs Python 3.11 or newer and make; it puts all else into .venv. PYTHON=... takes
# another Python, ARGS=... goes to pytest or uv, CI=true lets no test be skipped.

VENV := .venv
BIN := $(VENV)/bin
PYTHONS := python3.13 python3.12 python3.11 python3
SYSTEM_PACKAGES := postfix gnupg gpg-agent gpgsm libnss3-tools openssl swaks \
	libnet-ssleay-perl systemd slapd ldap-utils libcrypt-smime-perl s-nail postgresql \
	default-jdk-headless libbcmail-java libbcpkix-java libmail-java softhsm2
BUILD_PACKAGES := gcc libc6-dev libldap-dev libsasl2-dev swig libssl-dev
LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-header --no-emit-index-url
RUN_AS_CI := $(filter-out 0 no false,$(CI))

ifndef PYTHON
PYTHON = $(firstword $(foreach python,$(PYTHONS),$(shell $(python) -c \
	'import sys; sys.version_info >= (3, 11) and print("$(python)")' 2>/dev/null)))
endif

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup fmt lint types test bench growth chaos fuzz demo lock audit sbom clean system-packages ldap-client programs

help:  ## list the commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(VENV)/.installed  ## make .venv and install what is locked; the other commands do so first

fmt: setup  ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup  ## style, and the floors of the package
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup  ## mypy, strict
	$(BIN)/mypy

test: setup system-packages ldap-client programs  ## all tests; installs the Debian packages they need if it may
	SMIMEFILTER_MISSING_OK=$(if $(RUN_AS_CI),0,1) $(BIN)/pytest $(ARGS)

bench: setup system-packages programs  ## speed and memory beside their limits; writes build/bench.json; ARGS='ROW ...'
	$(BIN)/python -m tests.bench $(ARGS)

fuzz: setup  ## open 100 000 broken mails; ARGS='MAILS SEED'
	$(BIN)/python -m tests.bench.fuzz $(ARGS)

growth: setup system-packages  ## the table and plot of docs/performance.md, measured anew
	$(BIN)/python -m tests.bench.growth

chaos: setup system-packages  ## 10 000 mails through a bad week; ARGS='MAILS SEED MINUTES'
	$(BIN)/python -m tests.chaos $(ARGS)

demo: setup  ## five mails through a running filter, each decision explained and checked
	$(BIN)/smimefilter demo

lock: setup  ## write the lock files from pyproject.toml; ARGS=--upgrade for newer versions
	$(LOCK) $(ARGS) --group build pyproject.toml -o requirements.lock
	$(LOCK) $(ARGS) --group dev pyproject.toml -o requirements-dev.lock
	$(LOCK) $(ARGS) --group hsm -o requirements-hsm.lock
	$(LOCK) $(ARGS) --group ldap -o requirements-ldap.lock
	$(LOCK) $(ARGS) --group postgres -o requirements-postgres.lock
	$(LOCK) $(ARGS) --group programs -o requirements-programs.lock

audit: setup  ## known flaws of what is locked, and whether all of it is pinned by hashes
	$(BIN)/python -m tests.audit $(ARGS)

sbom: setup  ## write build/sbom.json, the CycloneDX bill of what is installed to run
	@mkdir -p build
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --of JSON --output-reproducible requirements.lock -o build/sbom.json

clean:  ## remove what the other commands made, but for .venv
	rm -rf build dist demo-results .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache
	find smimefilter tests -name __pycache__ -type d -prune -exec rm -rf {} +

system-packages:
	@tests/install-system-packages $(SYSTEM_PACKAGES) || { test -z "$(RUN_AS_CI)" && \
		echo "Tests that need what is missing are skipped, each with its reason below."; }

ldap-client:
	@$(MAKE) --no-print-directory $(VENV)/.ldap || { test -z "$(RUN_AS_CI)" && \
		echo "The LDAP client could not be built: its tests are skipped."; }

programs:
	@$(MAKE) --no-print-directory $(VENV)/.programs || { test -z "$(RUN_AS_CI)" && \
		echo "M2Crypto could not be built: its tests are skipped."; }

$(BIN)/pip:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "No Python from 3.11 on ($(or $(PYTHON),$(PYTHONS))): install one," \
		"or say PYTHON=/path/to/python." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || tests/install-system-packages \
		$$($(PYTHON) -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
	$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.locked: requirements-dev.lock | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.locked
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	@touch $@

# These come as source. A Python that brings its own headers needs no package for them.
$(VENV)/.ldap $(VENV)/.programs: $(VENV)/.%: requirements-%.lock | $(VENV)/.locked
	@tests/install-system-packages $(BUILD_PACKAGES) $$($(BIN)/python -c 'import os, sys, \
		sysconfig; os.path.exists(sysconfig.get_path("include") + "/Python.h") or \
		print("python%d.%d-dev" % sys.version_info[:2])') || :
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--no-build-isolation -r $<
	@touch $@
