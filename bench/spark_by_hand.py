"""The peer of `score` on Spark in bench/engines.py: the same join, and the same model in
`mapInArrow`, written by hand; scores come back as Arrow and are copied into a table."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from bench.point_in_time import TABLES
from feast_spark.session import spark_session
from streamflow.history.as_of import event_timestamp
from streamflow.history.parquet.history_files import history_files
from streamflow.platform import Platform
from streamflow.postgres.database import Database

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa


def score_by_hand(ready: Platform, as_of: date) -> int:
    """Score everyone of the month by the newest version; how many there are."""
    import pyarrow.csv

    session = spark_session(ready.settings.spark_remote)
    copied = history_files(ready.database, ready.use_case.name, ready.settings.home)
    for name, view in copied.tables.items():
        session.read.parquet(*(f"file://{file}" for file in view.files)).createOrReplaceTempView(
            name
        )
    version = max(ready.registry.versions(), key=lambda one: one.version)
    folder = ready.production.download(version)
    frame = session.sql(_query(as_of))
    scored = frame.mapInArrow(
        _scoring(str(folder)), "user_id string, probability double, label bigint"
    )
    table = scored.toArrow()
    content = io.BytesIO()
    options = pyarrow.csv.WriteOptions(include_header=False)
    pyarrow.csv.write_csv(table, content, options)
    with Database(ready.database.url) as database, database.connection() as connection:
        connection.execute(
            "CREATE TEMP TABLE by_hand (user_id text, probability float8, label bigint)"
        )
        with connection.cursor().copy("COPY by_hand FROM STDIN WITH (FORMAT csv)") as copy:
            copy.write(content.getvalue())
        # As `score` does, everyone has a rank.
        connection.execute(
            "SELECT count(*) FROM (SELECT rank() OVER (ORDER BY probability DESC, "
            "user_id) FROM by_hand) AS ranked"
        )
    return int(table.num_rows)


def _query(as_of: date) -> str:
    moment = f"TIMESTAMP '{event_timestamp(as_of).isoformat(sep=' ')}'"
    columns = ", ".join(f"{table}.{name}" for table, names in TABLES.items() for name in names)
    joins = "\n".join(
        f"""LEFT JOIN (SELECT * FROM (
                SELECT *, row_number() OVER
                    (PARTITION BY user_id ORDER BY event_timestamp DESC, recorded_at DESC) AS place
                FROM {table}_history WHERE event_timestamp <= {moment}
            ) WHERE place = 1) AS {table} ON {table}.user_id = users.user_id"""
        for table in TABLES
    )
    return (
        f"SELECT users.user_id, {columns} FROM (SELECT DISTINCT user_id FROM users_history "
        f"WHERE as_of = DATE '{as_of}') AS users {joins}"
    )


def _scoring(folder: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    # A function inside of a function goes to the executors with its code.
    def score(batches: Any) -> Any:
        from pathlib import Path

        import pyarrow

        from streamflow.training import dataset_table, served_model

        model = served_model.load(Path(folder))
        features = model.schema.features
        for batch in batches:
            table = pyarrow.Table.from_batches([batch])
            columns = {one.name: dataset_table.values(table, one) for one in features}
            labels, probabilities = model.predict(columns)
            yield pyarrow.RecordBatch.from_pydict(
                {"user_id": batch["user_id"], "probability": probabilities, "label": labels}
            )

    return score
