# make demo   the main job on real data, embedded store
# make test   everything that is tested
# make lowest what is tested, with the lowest versions that pyproject.toml allows; TESTS=... for some of it
# All make .venv themselves; nothing but Python 3.11+ and make is needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test thorough lowest lint bench bench-others schemas lock clean

demo: $(READY)
	$(BIN)/drumbeat demo

test: $(READY)
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

# Once a day, and before a release: the same tests with the whole crash matrix and ten times the kills (half an hour).
thorough:
	DRUMBEAT_CRASH_POINTS=5000 DRUMBEAT_KILLS=300 $(MAKE) test

TESTS ?= tests/contracts tests/cli

lowest: $(READY)
	test -x .lowest/bin/uv || { $(BIN)/python -m venv .lowest \
	  && .lowest/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'; }
	.lowest/bin/uv pip compile --quiet --resolution lowest-direct --extra dev pyproject.toml -o .lowest/versions.txt
	.lowest/bin/uv pip install --quiet --python .lowest/bin/python -r .lowest/versions.txt
	.lowest/bin/uv pip install --quiet --python .lowest/bin/python --no-deps -e .
	.lowest/bin/python -m pytest -q $(TESTS)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python bench/run.py

# What bench/conditions.py and bench/engines.py compare with, in a venv of its own.
bench-others: $(READY)
	test -x bench/.venv/bin/python || $(PYTHON) -m venv bench/.venv
	bench/.venv/bin/python -m pip install --quiet --disable-pip-version-check -r bench/requirements.txt

schemas: $(READY)
	$(BIN)/drumbeat schema --write schemas
	$(BIN)/drumbeat docs --write docs/reference
	$(BIN)/python tests/meta/semantics_page.py
	$(BIN)/python tests/meta/library_page.py

LOCK := pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
  --no-header --no-emit-index-url --no-emit-find-links
OPTIONAL := --extra apprise --extra redis --extra nats --extra kafka --extra rabbitmq --extra postgres --extra otel --extra parquet --extra report --extra seal

# The newest versions that pyproject.toml allows, with the hashes of all their files: for installing, and for working on it.
lock: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'
	$(BIN)/uv $(LOCK) pyproject.toml $(OPTIONAL) -o requirements.lock
	$(BIN)/uv $(LOCK) pyproject.toml --all-extras -c requirements.lock -o requirements-dev.lock
	echo setuptools | $(BIN)/uv $(LOCK) - -o deploy/requirements-build.lock

clean:
	rm -rf $(VENV) bench/.venv .lowest build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $(READY)
