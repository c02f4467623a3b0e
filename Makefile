# Every target makes and fills .venv from requirements.lock by itself; the second time that is instant.
PYTHON ?= python3
RUN := .venv/bin/python -m

.PHONY: demo test check bench lock
.DELETE_ON_ERROR:

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"StreamFlow runs on Python 3.11 to 3.13, this is {v[0]}.{v[1]}. Name another with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/installed ## from nothing to a served prediction
	$(RUN) streamflow demo

test: .venv/installed ## unit, integration and end-to-end tests
	$(RUN) pytest --numprocesses 2 --dist loadfile

check: .venv/installed ## format, lint, types
	$(RUN) ruff format --check src tests bench
	$(RUN) ruff check src tests bench
	$(RUN) mypy

bench: .venv/installed ## every claim about speed, measured beside a peer
	@for name in load point_in_time ingest materialize online_read serving cold_start soak page; do \
	  $(RUN) bench.$$name || exit 1; done

lock: ## resolve pyproject.toml anew into requirements.lock
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv
	.venv-lock/bin/python -m uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --upgrade pyproject.toml -o requirements.lock
	rm -rf .venv-lock
