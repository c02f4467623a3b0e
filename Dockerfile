# Images of one program. `api` only answers: no pandas, scikit-learn, Feast or MLflow in it.
# `full` does everything else: the pipeline, and MLflow's and Feast's servers. `spark` is `full` with
# Java and pyspark, for a driver, a master and workers of Spark.
#
#   docker build --target api --tag streamflow-api .
#   docker build --target full --tag streamflow-full .
#   docker build --target spark --tag streamflow-spark .

FROM python:3.11-slim-bookworm AS source
WORKDIR /app
# The lock stays beside the source: every training run records its hash.
COPY requirements.lock ./
COPY src ./src
# Whoever cloned may have kept others from reading; the container's user is another.
RUN python -m compileall -q src && chmod -R a+rX /app

FROM python:3.11-slim-bookworm AS api-packages
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
COPY requirements-api.lock ./
# Packages before the source: they change seldom. Every hash is checked.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --quiet --require-hashes -r requirements-api.lock

FROM python:3.11-slim-bookworm AS full-packages
WORKDIR /build
RUN python -m venv --without-pip /opt/venv
COPY requirements-full.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --quiet --require-hashes -r requirements-full.lock
# SQLAlchemy's extra that Feast asks for brings mypy; what pyproject.toml names as the developers'
# tools goes again.
COPY pyproject.toml ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['optional-dependencies']['dev'], sep='\\n')" > dev.txt \
    && pip --python /opt/venv/bin/python uninstall --quiet --yes --requirement dev.txt \
    && pip --python /opt/venv/bin/python check

FROM python:3.11-slim-bookworm AS guide
WORKDIR /app
RUN python -m venv --without-pip /opt/venv
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --quiet --require-hashes -r requirements.lock
COPY docs ./docs
COPY src ./src
# The console serves it at /docs/guide; its reference is written from the code.
RUN PYTHONPATH=src /opt/venv/bin/python -m sphinx --quiet --fail-on-warning -b html docs build/docs \
    && chmod -R a+rX build

FROM python:3.11-slim-bookworm AS base
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin streamflow \
    && install --directory --owner=streamflow --group=streamflow \
        /state /state/models /state/mlflow /artifacts /backups
# The root file system is read-only in compose.yaml: /tmp and the volumes are what can be written.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app/src PYTHONSAFEPATH=1 PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 HOME=/tmp STREAMFLOW_HOME=/state
WORKDIR /state
ENTRYPOINT ["python", "-m", "streamflow"]

FROM base AS api
COPY --from=api-packages /opt/venv /opt/venv
COPY --from=source /app /app
USER 10001
EXPOSE 8000
CMD ["serve", "--host", "0.0.0.0"]

FROM base AS full
# LightGBM's wheel needs the system's OpenMP.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=full-packages /opt/venv /opt/venv
COPY --from=source /app /app
COPY --from=guide /app/build/docs /app/build/docs
USER 10001
CMD ["--help"]

FROM full-packages AS spark-packages
COPY requirements-spark.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/venv/bin/python install --quiet --require-hashes -r requirements-spark.lock

FROM full AS spark
USER 0
# Java's package links its manual pages, into a folder that slim images are without.
# hadolint ignore=DL3008
RUN mkdir -p /usr/share/man/man1 \
    && apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps \
    && rm -rf /var/lib/apt/lists/*
COPY --from=spark-packages /opt/venv /opt/venv
USER 10001
