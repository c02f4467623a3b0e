"""Settings into real collaborators: the only wiring."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streamflow.api.telemetry.background import Background, background
from streamflow.errors import (
    DatabaseUnavailable,
    NoProductionModel,
    ServiceUnavailable,
    StreamFlowError,
)
from streamflow.features.engines.history_database import history_database
from streamflow.platform import Platform
from streamflow.postgres import embedded_server, migrations
from streamflow.postgres.database import Database
from streamflow.postgres.database_url import sqlalchemy_url
from streamflow.postgres.driver_errors import database_unavailable, driver_error
from streamflow.private_files import make_home
from streamflow.promotion.admission.admitted_reader import AdmittedReader
from streamflow.registry import mlflow_rest
from streamflow.registry.mlflow_registry import Registry
from streamflow.registry.model_cache import LastServed, ModelCache
from streamflow.registry.production import DatabaseReader, ServerReader, StagesReader
from streamflow.registry.trial import Trials
from streamflow.settings import Settings
from streamflow.use_case import UseCase
from streamflow.use_case.module import load_use_case

if TYPE_CHECKING:
    from streamflow.api.middleware import RequestBoundary
    from streamflow.api.parts import ApiParts
    from streamflow.api.telemetry.tracing import Trace
    from streamflow.keys.key_sync import KeySync
    from streamflow.registry.production import ProductionReader
    from streamflow.serving.challenger.staging import StagingSources
    from streamflow.serving.online_store import OnlineStore
    from streamflow.serving.prediction_log import Writer
    from streamflow.serving.predictor import Predictor
    from streamflow.serving.watcher import Trial
    from streamflow.training.served_model import ServedModel

MLFLOW_SCHEMA = "mlflow"


@contextmanager
def connected(settings: Settings) -> Iterator[Database]:
    """The database as it is, while the block runs; the embedded PostgreSQL if no other is named."""
    with ExitStack() as stack:
        if settings.database_url is not None:
            yield stack.enter_context(Database(settings.database_url.get_secret_value()))
            return
        home = settings.home
        url = stack.enter_context(embedded_server.running(home, settings.postgres_binaries))
        # It may be started again, at another port.
        yield stack.enter_context(Database(lambda: embedded_server.current_url(home) or url))


@contextmanager
def platform(settings: Settings, *, even_without_database: bool = False) -> Iterator[Platform]:
    """The platform while the block runs, with the embedded PostgreSQL if no other is named.

    A server that is away may be back later: `even_without_database` leaves that to whoever asks it
    next. Raises InvalidSettings, DatabaseUnavailable, and what `migrate` does.
    """
    use_case = load_use_case(settings.use_case)
    with suppress(OSError):  # whoever writes there learns it
        make_home(settings.home)
    with connected(settings) as database:
        url = database.url
        try:
            migrations.migrate(database)
        except DatabaseUnavailable:
            if not even_without_database:
                raise
        registry = Registry(
            # MLflow 3.17 compares version numbers with text when it moves a stage, which psycopg 3
            # refuses and psycopg 2 lets PostgreSQL decide.
            uri=settings.mlflow_tracking_uri or sqlalchemy_url(url, MLFLOW_SCHEMA, "psycopg2"),
            model=use_case.registered_model,
            artifacts=None if settings.mlflow_tracking_uri else settings.artifacts,
            cache=ModelCache(settings.model_cache, settings.artifacts, settings.model_megabytes),
        )
        follows = production(settings, database, registry)
        with history_database(settings, database) as (read, columns), _blamed_on_the_database():
            yield Platform(settings, use_case, read, registry, follows, columns)


@contextmanager
def _blamed_on_the_database() -> Iterator[None]:
    """Feast and MLflow keep their tables in PostgreSQL too; if that goes away while one of them is
    at work, starting it is what helps.

    Raises DatabaseUnavailable.
    """
    try:
        yield
    except DatabaseUnavailable:
        raise
    except Exception as error:
        unclear = isinstance(error, ServiceUnavailable) or not isinstance(error, StreamFlowError)
        cause = driver_error(error) if unclear else None
        if cause is None:
            raise
        raise database_unavailable(cause) from error


def production(settings: Settings, database: Database, registry: Registry) -> StagesReader:
    """The thinnest way to see which version is in Production."""
    uri, cache = settings.mlflow_tracking_uri, registry.cache
    if uri is None:
        return DatabaseReader(database, registry.model, cache, registry)
    if uri.startswith(("http://", "https://")) and not mlflow_rest.needs_mlflow():
        return ServerReader(uri, registry.model, cache, registry)
    return registry


def predictor(settings: Settings, use_case: UseCase, online: OnlineStore) -> Predictor:
    """A predictor without a model yet, by the settings."""
    from streamflow.serving.predictor import Predictor

    return Predictor(
        online,
        registered_model=use_case.registered_model,
        join_key=use_case.join_key,
        stale_features=settings.stale_features,
        freshness_clock=settings.freshness_clock,
    )


def production_predictor(platform: Platform) -> Predictor:
    """The Production model over the online features, as the API has it, without the API.

    Raises NoProductionModel, UnservableModel, FeatureStoreUnavailable, MlflowUnavailable.
    """
    from streamflow.serving.configured_online_store import configured_online_store
    from streamflow.serving.scoring import Served
    from streamflow.training import served_model

    version = AdmittedReader.of(platform, _now).production()
    if version is None:
        raise NoProductionModel(platform.use_case.registered_model)
    files = platform.production.download(version)
    Trials(platform.registry.cache).require_passed(version, files)
    model = served_model.load(files)
    online = configured_online_store(platform.settings, platform.database, platform.use_case)
    ready = predictor(platform.settings, platform.use_case, online)
    ready.set_newest(online.newest_event_timestamps())
    ready.set_not_recorded(online.not_recorded())
    ready.serve(Served(version, model, online.plan(model.schema)))
    return ready


# The API's own connections wait at most so long, but for the writing of the prediction log.
_API_TIMEOUT_SECONDS, _API_WRITING_TIMEOUT_SECONDS = 2.0, 10.0


def api(platform: Platform, host: str) -> RequestBoundary:
    """The API for a server that listens on `host`; it starts with its lifespan."""
    from streamflow.api.app import create_app
    from streamflow.api.telemetry.tracing import tracing
    from streamflow.keys import access
    from streamflow.keys.audit import Audit
    from streamflow.keys.key_sync import DatabaseKeyStore, KeySync
    from streamflow.promotion.canary import CanaryHistory
    from streamflow.scores.score_lookup import ScoreLookup
    from streamflow.serving.challenger.canary_bounds import CanaryBounds
    from streamflow.serving.challenger.staging import StagingSources
    from streamflow.serving.configured_online_store import configured_online_store
    from streamflow.serving.prediction_log_writer import PredictionWriter

    settings, use_case, url = platform.settings, platform.use_case, platform.database.address
    # The platform's connection has no time limit.
    platform.database.close()
    database = Database(url, _API_TIMEOUT_SECONDS)
    checked = access.Access(
        open_without_keys=access.is_loopback(host),
        requests_per_second=settings.api_key_rate,
        now=_now,
        host_names=(settings.api_host_names or "").split(","),
    )
    key_store = DatabaseKeyStore(Database(url, _API_TIMEOUT_SECONDS))

    def log_writer(copy: str) -> PredictionWriter | None:
        if not settings.prediction_log:
            return None
        # Its thread is the only one that uses this connection.
        own = Database(url, _API_WRITING_TIMEOUT_SECONDS)
        return PredictionWriter(own, settings.prediction_log_days, _now, copy)

    # No answer waits for what the version in Staging does.
    beside = Database(url, _API_TIMEOUT_SECONDS)
    thin = production(settings, database, platform.registry)
    apart = replace(platform, database=Database(url, _API_TIMEOUT_SECONDS))
    parts = api_parts(
        settings,
        use_case,
        AdmittedReader.of(replace(platform, database=database, production=thin), _now, True),
        configured_online_store(settings, database, use_case),
        KeySync(key_store, checked, Audit()),
        log_writer=log_writer("copy_predictions"),
        staging=StagingSources(
            production(settings, beside, platform.registry),
            configured_online_store(settings, beside, use_case),
            log_writer("copy_shadow_scores"),
            CanaryHistory(beside, use_case.registered_model, _now),
            CanaryBounds(use_case.gates.canary_errors, use_case.gates.canary_disagreement),
        ),
        last_served=LastServed(platform.registry.cache, use_case.registered_model),
        trace=tracing(),
        trial=Trials(platform.registry.cache).require_passed,
        beside_requests=partial(background, apart),
    )
    scores = ScoreLookup(url, use_case, _API_TIMEOUT_SECONDS)
    return create_app(replace(parts, scores=scores))


def api_parts(
    settings: Settings,
    use_case: UseCase,
    registry: ProductionReader,
    online: OnlineStore,
    key_sync: KeySync,
    *,
    log_writer: Writer | None = None,
    last_served: LastServed | None = None,
    trace: Trace | None = None,
    now: Callable[[], datetime] | None = None,
    load: Callable[[Path], ServedModel] | None = None,
    trial: Trial | None = None,
    staging: StagingSources | None = None,
    beside_requests: Callable[..., list[Background]] = lambda *_: [],
) -> ApiParts:
    """The API's parts over stores that may be stand-ins, as in tests.

    `log_writer` stores predictions, and `last_served` remembers which version was served. Without
    `staging`, the version in Staging isn't looked at.
    """
    from streamflow.api.parts import ApiParts
    from streamflow.api.telemetry.recorder import Recorder
    from streamflow.serving.batching import RequestBatcher
    from streamflow.serving.challenger.staging import staging_parts
    from streamflow.serving.prediction_log import PredictionLog
    from streamflow.serving.watcher import Admission, Watcher
    from streamflow.training import served_model

    now, load = now or _now, load or served_model.load
    recorder = Recorder(trace)
    predicting = predictor(settings, use_case, online)
    prediction_log = PredictionLog(log_writer, recorder) if log_writer is not None else None
    staged = None
    if staging is not None:
        own = predictor(settings, use_case, staging.online)
        staged = staging_parts(staging, own, predicting, recorder, settings, load, trial)
    batches = RequestBatcher(
        predicting,
        online,
        now=now,
        latency_budget_seconds=settings.latency_budget_ms / 1000,
        store_results=prediction_log.add if prediction_log is not None else None,
        record_stage=recorder.record_stage,
        challenger=staged[1] if staged is not None else None,
    )
    recorder.read_load_from(batches.load)
    watcher = Watcher(
        predicting,
        registry,
        online,
        recorder,
        poll_seconds=settings.registry_poll_seconds,
        now=now,
        last_served=last_served,
        load=load,
        trial=trial,
        admission=registry if isinstance(registry, Admission) else None,
    )
    return ApiParts(
        registered_model=use_case.registered_model,
        join_key=use_case.join_key,
        predictor=predicting,
        watcher=watcher,
        batches=batches,
        recorder=recorder,
        key_sync=key_sync,
        prediction_log=prediction_log,
        staging=staged,
        now=now,
        beside_requests=beside_requests(recorder, now),
    )


def _now() -> datetime:
    return datetime.now(UTC)
