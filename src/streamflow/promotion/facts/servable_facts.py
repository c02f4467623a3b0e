"""Whether a version can be served: by the store as it is now, and by its own files."""

from __future__ import annotations

from streamflow.errors import (
    InvalidSettings,
    NoLineage,
    UnknownRun,
    UnservableModel,
)
from streamflow.features import feature_store
from streamflow.lineage import recorded_run
from streamflow.platform import Platform
from streamflow.promotion.gates.servable import Servable
from streamflow.promotion.online_features import missing_features
from streamflow.registry.records import ModelVersion
from streamflow.registry.trial import Trials
from streamflow.scratch import scratch
from streamflow.serving.configured_online_store import configured_online_store
from streamflow.serving.online_store import OnlineStore
from streamflow.training.served_model import SCHEMA_FILE, FeatureSchema


def servable_facts(
    platform: Platform, version: ModelVersion, *, served_before: bool = False
) -> Servable:
    """What the store lacks for the version, whether its model loads, and on how many rows its
    served form was proved equal.

    The files are those whose hash is registered, and the proof is of that hash. A version that was
    `served_before` needs no proof, and what may be null since then is answered with an error then
    as well. Raises MlflowUnavailable, FeatureStoreUnavailable.
    """
    try:
        folder = platform.production.download(version)
        Trials(platform.registry.cache).require_passed(version, folder)
    except UnservableModel as error:
        return Servable(load_problem=_clause(error.message))
    schema = FeatureSchema.from_json((folder / SCHEMA_FILE).read_text(encoding="utf-8"))
    online = configured_online_store(platform.settings, platform.database, platform.use_case)
    problems = _store_problems(online, schema, platform.use_case.join_key)
    if served_before:
        return Servable(tuple(problems), served_before=True)
    unknown = None
    if not problems:
        try:
            problems = _null_problems(platform, schema)
        except InvalidSettings as error:
            unknown = _clause(error.message)
    proved_rows, doubt = _proof(platform, version)
    return Servable(tuple(problems), proved_rows=proved_rows, unknown=unknown or doubt)


def _store_problems(online: OnlineStore, schema: FeatureSchema, join_key: str) -> list[str]:
    if schema.join_key != join_key:
        return [f"its join key is {schema.join_key!r}, the use case's is {join_key!r}"]
    try:
        online.require_values(online.plan(schema))
    except UnservableModel as error:
        lacking = [f"{one} isn't online" for one in missing_features(online, schema)]
        return lacking or [_clause(error.message)]
    return []


def _null_problems(platform: Platform, schema: FeatureSchema) -> list[str]:
    """A clause for each feature that may be null now, and never was where the model was trained.

    Of what the use case has no more, what is online stays as it was. Raises InvalidSettings if the
    definitions aren't applied.
    """
    store = feature_store.open_store(platform.database.url, platform.use_case)
    today = {
        (one.feature_view, one.name, one.type): one
        for one in feature_store.feature_schema(store, platform.use_case).features
    }
    found = []
    for feature in schema.features:
        now = today.get((feature.feature_view, feature.name, feature.type))
        if now is not None and now.may_be_null and not feature.may_be_null:
            found.append(
                f"{feature.feature_view}:{feature.name} may be null now, and never was where the "
                "model was trained"
            )
    return found


def _proof(platform: Platform, version: ModelVersion) -> tuple[int | None, str | None]:
    """On how many rows the model of this hash was proved, or why that isn't known.

    A run is finished and has its lineage only if the proof held.
    """
    registry = platform.registry
    with scratch(platform.settings.scratch) as folder:
        try:
            run = registry.run(version.run_id)
            proved = recorded_run.read(registry, run, folder).lineage.model
        except (NoLineage, UnknownRun) as error:
            return None, _clause(error.message)
    if proved.hash != version.model_hash:
        return None, (
            f"it is registered with the model hash {version.model_hash[:12]}, and its run has "
            f"proved {proved.hash[:12]}"
        )
    return proved.validation_rows, None


def _clause(sentence: str) -> str:
    return sentence.rstrip(".")
