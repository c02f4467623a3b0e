"""The use case: which subscribers of a video-streaming company will churn next month."""

from datetime import timedelta

from churn import features, generator, label, model, tables
from streamflow.use_case import UseCase

use_case = UseCase(
    name="churn",
    registered_model="streamflow_churn",
    join_key="user_id",
    entity_table="users",
    tables=tables.tables,
    label=label.CHURN,
    features=features.definitions,
    feature_service="churn_v1",
    models=model.MODELS,
    default_model="random_forest",
    acceptance=model.ACCEPTANCE,
    gates=model.GATES,
    # Whom one month lacks may come late; whom two in a row lack has left.
    departed_after=timedelta(days=45),
    generate=generator.generate,
)
