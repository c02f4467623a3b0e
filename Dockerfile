# One image for all of StreamFlow's services: the API, the pipeline, MLflow's and Feast's servers.

FROM python:3.11-slim-bookworm AS packages
WORKDIR /app
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Locked packages first: they change seldom, and every hash is checked.
COPY requirements.lock ./
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --quiet --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src ./src
# The lock has the developers' tools as well; what pyproject.toml names as theirs goes again.
RUN pip install --quiet --no-cache-dir --no-deps --no-build-isolation --editable . \
    && python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['optional-dependencies']['dev'], sep='\\n')" > dev.txt \
    && pip uninstall --quiet --yes --requirement dev.txt \
    && rm dev.txt \
    && pip check \
    && python -m compileall -q src

FROM python:3.11-slim-bookworm
# LightGBM's wheel needs the system's OpenMP.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --shell /usr/sbin/nologin streamflow \
    && install --directory --owner=streamflow --group=streamflow /state /artifacts
COPY --from=packages /opt/venv /opt/venv
# The lock stays beside the source: every training run records its hash.
COPY --from=packages /app /app
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 STREAMFLOW_HOME=/state
USER 10001
WORKDIR /home/streamflow
ENTRYPOINT ["streamflow"]
CMD ["--help"]
