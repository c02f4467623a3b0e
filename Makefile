# Every target makes and fills .venv from requirements.lock by itself; the second time that is instant.
PYTHON ?= python3
RUN := .venv/bin/python -m

# With its plugin, or as a command of its own.
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)

# Two processes, a file of tests each. Files are taken in the order of pyproject.toml's `testpaths`,
# which has the longest first; pytest-xdist would begin with those that have many tests, and end
# with a file of few long ones while one process waits.
IN_TWO = $(RUN) pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

# What `make test-engines` runs: all that reads or writes history. Most of tests/e2e is slow, and
# runs with STREAMFLOW_SLOW_TESTS=1.
ENGINE_TESTS ?= tests/e2e tests/integration

.PHONY: docs demo test test-all test-plain-http test-slow test-engines test-browser test-spark pictures check bench lock env images images-spark stack stack-test
.DELETE_ON_ERROR:

.venv/installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else f"StreamFlow runs on Python 3.11 to 3.13, this is {v[0]}.{v[1]}. Name another with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv --clear .venv
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(RUN) pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: .venv/installed ## from nothing to a served prediction
	$(RUN) streamflow demo

test: .venv/installed test-all test-plain-http ## unit, integration and end-to-end tests

test-all: .venv/installed
	$(IN_TWO)

test-plain-http: .venv/installed ## the API's tests again, without its direct HTTP path
	STREAMFLOW_DIRECT_HTTP=false $(IN_TWO) \
	  tests/unit/test_api.py tests/unit/test_api_*.py tests/unit/test_direct_requests.py \
	  tests/unit/test_server.py tests/unit/test_tracing.py \
	  tests/e2e/test_keys.py::test_a_server_for_others_holds_against_what_is_tried

test-slow: .venv/installed ## what `make test` leaves out as it takes many seconds
	STREAMFLOW_SLOW_TESTS=1 $(IN_TWO) -m slow -rs

test-engines: .venv/installed ## the suite again, by DuckDB: over PostgreSQL, then over Apache Iceberg
	STREAMFLOW_ENGINE=duckdb $(IN_TWO) $(ENGINE_TESTS)
	STREAMFLOW_ENGINE=duckdb STREAMFLOW_HISTORY="file://$(CURDIR)/build/histories" \
	  $(IN_TWO) $(ENGINE_TESTS)

test-browser: .venv/installed ## the console and the month's report in a Chromium
	$(IN_TWO) tests/browser

pictures: .venv/installed ## the README's picture of the console, from the demo's data
	.venv/bin/python docs/pictures/console.py

docs: .venv/installed ## the pages of documentation, static, in build/docs
	$(RUN) sphinx --quiet --fail-on-warning -b html docs build/docs

env: ## .env with a random password for each service; what it has already stays
	$(PYTHON) deploy/environment.py

images: ## the two images that compose.yaml names
	DOCKER_BUILDKIT=1 docker build --target full --tag streamflow-full .
	DOCKER_BUILDKIT=1 docker build --target api --tag streamflow-api .

images-spark: ## the image of the profile `spark`
	DOCKER_BUILDKIT=1 docker build --target spark --tag streamflow-spark .

stack: images ## as services with Docker Compose, from nothing to a served prediction
	$(COMPOSE) up --detach --no-build --wait mlflow feast feast-ui
	$(COMPOSE) up --detach --no-build api
	$(COMPOSE) run --rm -T pipeline demo --api http://api:8000
	$(COMPOSE) up --detach --no-build --wait api console

stack-test: .venv/installed ## that stack, built and driven end to end on the Docker engine at hand
	$(RUN) pytest --capture=no --maxfail 3 tests/stack

test-spark: .venv/spark-installed ## Spark: a master and two workers as processes, one of them killed
	$(RUN) pytest tests/spark

.venv/spark-installed: .venv/installed requirements-spark.lock
	@java -version >/dev/null 2>&1 || { echo "make test-spark needs Java 17 or later, such as Debian's openjdk-17-jre-headless." >&2; exit 1; }
	$(RUN) pip install --quiet --disable-pip-version-check --require-hashes -r requirements-spark.lock
	@touch $@

check: .venv/installed ## format, lint, types, the rooms' arrows, declared dependencies
	$(RUN) ruff format --check src tests bench deploy
	$(RUN) ruff check src tests bench deploy
	$(RUN) mypy
	.venv/bin/lint-imports --no-logo --no-cache
	$(RUN) deptry src

bench: .venv/installed ## every claim about speed, measured beside a peer
	@for name in load point_in_time engines ingest fingerprints materialize online_read serving prediction_log shadow cold_start soak page; do \
	  $(RUN) bench.$$name || exit 1; done

lock: ## resolve pyproject.toml anew into requirements.lock, and the parts of it for the slim image and for Spark
	$(PYTHON) -m venv .venv-lock && .venv-lock/bin/python -m pip install --quiet uv
	.venv-lock/bin/python -m uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --upgrade pyproject.toml -o requirements.lock
	.venv-lock/bin/python -m uv pip compile --universal --python-version 3.11 --group api --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --constraint requirements.lock -o requirements-api.lock
	.venv-lock/bin/python -m uv pip compile --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --constraint requirements.lock pyproject.toml -o requirements-full.lock
	.venv-lock/bin/python -m uv pip compile --universal --python-version 3.11 --group spark --generate-hashes \
	  --no-emit-index-url --no-annotate --no-header --constraint requirements.lock -o requirements-spark.lock
	rm -rf .venv-lock
