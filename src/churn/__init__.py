"""The use case: which subscribers of a video-streaming company will churn next month."""

from datetime import timedelta

from churn import features, generator, label, model, phrases, tables
from streamflow.use_case import UseCase, Value

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
    search=model.SEARCH,
    acceptance=model.ACCEPTANCE,
    gates=model.GATES,
    # Whom one month lacks may come late; whom two in a row lack has left.
    departed_after=timedelta(days=45),
    # A subscriber who is kept pays for another year; one in five lets the offer keep them.
    value=Value(column="subscriptions.monthly_fee", months=12, success=0.2, cost=5.0, unit="USD"),
    phrases=phrases.PHRASES,
    risk_bands={"high": 0.5, "medium": 0.2, "low": 0.0},
    generate=generator.generate,
)
