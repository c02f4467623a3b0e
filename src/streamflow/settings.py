"""All settings: environment variables that begin with `STREAMFLOW_`, or a `.env` file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from streamflow.errors import InvalidSettings

RoleName = Literal["pipeline", "api", "feast", "mlflow", "reader"]


class Settings(BaseSettings):
    """`STREAMFLOW_API_PORT=8001` sets `api_port`, and so on for each field."""

    model_config = SettingsConfigDict(
        env_prefix="STREAMFLOW_",
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
    )

    home: Path = Field(
        Path(".streamflow"),
        description="where state lives: embedded database, MLflow artifacts, logs, generated data",
    )
    use_case: str = Field("churn", description="dotted path of the module that holds `use_case`")
    database_url: SecretStr | None = Field(
        None, description="a PostgreSQL server (15 to 18); without it, the embedded one is started"
    )
    role_passwords: dict[RoleName, SecretStr] = Field(
        {},
        description="passwords of the database's roles, as JSON, for `streamflow migrate`; "
        "without any, one user owns everything and does everything",
    )
    postgres_binaries: Path | None = Field(
        None, description="folder with initdb and postgres for the embedded server"
    )
    mlflow_tracking_uri: str | None = Field(
        None, description="an MLflow server; without it, runs are kept in the same PostgreSQL"
    )
    mlflow_database_url: SecretStr | None = Field(
        None,
        description="the database of that MLflow server, for `streamflow backup` and `restore`; "
        "its artifacts are in the folder `mlflow` of the home",
    )
    online_store: dict[str, object] | None = Field(
        None,
        description="Feast's configuration of another online store, as JSON; without it, features "
        "are served from tables of our own in the same PostgreSQL",
    )
    engine: Literal["postgres", "duckdb", "spark"] = Field(
        "postgres",
        description="what reads history for training sets and scores: PostgreSQL, or DuckDB in "
        "this process over a copy in Parquet in the home, or Apache Spark over the same copy; "
        "results are the same to the last bit",
    )
    spark_remote: str | None = Field(
        None,
        pattern=r"^(sc://|spark://|k8s://|yarn$|local(-cluster)?(\[|$))",
        description="a Spark Connect server (`sc://host:15002`) or a master (`spark://host:7077`, "
        "`local[2]`, `yarn`) for the engine `spark`; without it, what Spark's own configuration "
        "says",
    )
    history: str = Field(
        "postgres",
        pattern=r"^(postgres|file:///[^?#%]+|(s3|gs)://[^?#%]+)$",
        description="where rows of history are: in PostgreSQL, or in tables of Apache Iceberg "
        "below a location, such as file:///srv/history or s3://bucket/history, which needs the "
        "engine duckdb, or spark for files",
    )
    engine_memory: str = Field(
        "4GB",
        pattern=r"^[1-9][0-9]*(\.[0-9]+)? ?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$",
        description="how much memory DuckDB may use, such as 4GB; more is written to the disk",
    )
    engine_spill: Path | None = Field(
        None,
        description="folder for what doesn't fit in that memory; without it, `spill` in the home",
    )
    model_megabytes: int = Field(
        500,
        ge=1,
        description="how large the files of a model may be, and how much memory it may take when "
        "it is loaded and scores; a larger one isn't served",
    )
    keep_training_sets: bool = Field(
        True,
        description="whether a run stores its training set, so that `reproduce` and `diff` can "
        "name rows",
    )
    api_host: str = Field("127.0.0.1", description="where the API listens")
    api_port: int = Field(8000, ge=1, le=65535)
    api_host_names: str | None = Field(
        None,
        description="names beside localhost, separated by commas, by which an API without keys is "
        "asked",
    )
    api_workers: int | None = Field(
        None, ge=1, le=256, description="processes that answer; without it, one per core"
    )
    direct_http: bool = Field(
        True,
        description="whether predictions take the faster path around ASGI, if uvicorn and "
        "httptools are of the versions that it was tested with; responses are the same",
    )
    api_key_rate: float = Field(
        1000.0,
        gt=0,
        description="how many requests a second each API key may make, of each worker",
    )
    api_key: SecretStr | None = Field(
        None, description="the key that `streamflow demo` sends to an API that requires one"
    )
    promote_key: SecretStr | None = Field(
        None,
        description="the key in whose name `streamflow promote` and `rollback` act; without it, "
        "in the name of the operating system's user",
    )
    latency_budget_ms: int = Field(
        250,
        ge=1,
        description="a prediction that would take longer than this is refused at once",
    )
    prediction_log: bool = Field(
        True,
        description="whether each prediction of the API is stored, to be explained later: on, off",
    )
    prediction_log_days: int = Field(
        90, ge=1, description="days (UTC) before today that the prediction log holds"
    )
    mirror: float = Field(
        100.0,
        ge=0,
        le=100,
        description="percentage of the predictions that the version in Staging scores too, in the "
        "background",
    )
    console_host: str = Field("127.0.0.1", description="where the console listens")
    console_port: int = Field(8080, ge=1, le=65535)
    console_host_names: str | None = Field(
        None,
        description="names beside localhost, separated by commas, by which the console is opened",
    )
    mlflow_port: int = Field(5000, ge=1, le=65535)
    stale_features: Literal["refuse", "warn"] = Field(
        "refuse", description="what /predict does with features older than the model allows"
    )
    freshness_clock: Literal["materialized", "now"] = Field(
        "materialized",
        description="what a feature's age is measured from: the newest month in the online store "
        "(right for archives and month-end batches), or the present moment",
    )
    rollback_versions: int = Field(
        3,
        ge=0,
        description="how many of the versions that were in Production before `apply` keeps "
        "servable, for `rollback`",
    )
    registry_poll_seconds: float = Field(
        1.0, gt=0, le=5, description="seconds between two checks which version is in Production"
    )

    ungated: Literal["refuse", "serve"] = Field(
        "refuse",
        description="what the API does when a version that no promotion brought to Production is "
        "there: go on with the last one that was promoted, or serve it",
    )

    webhook_url: SecretStr | None = Field(
        None,
        description="where the API sends the events of a model's history: promotions, rollbacks, "
        "what the gates stopped, changes made elsewhere",
    )
    webhook_secret: SecretStr | None = Field(
        None, description="the secret that those events are signed with (HMAC-SHA256)"
    )

    @property
    def artifacts(self) -> Path:
        """The folder with the files of MLflow's runs and models, unless a server keeps them."""
        return self.home / "mlflow"

    @property
    def model_cache(self) -> Path:
        """The folder with downloaded model files, by their hash."""
        return self.home / "models"

    @property
    def spill(self) -> Path:
        """The parent of the folders that DuckDB writes to."""
        return self.engine_spill or self.home / "spill"

    @property
    def scratch(self) -> Path:
        """The parent of temporary folders; see `streamflow.scratch`."""
        return self.home / "scratch"


def load_settings(**overrides: object) -> Settings:
    """The settings; `overrides` come before the environment, and that before `.env`.

    An empty variable is as if it wasn't set. Raises InvalidSettings naming the variable, its value
    unless that may hold a password, and what is allowed.
    """
    try:
        settings = Settings(**overrides)  # type: ignore[arg-type]
        if settings.webhook_url is not None and settings.webhook_secret is None:
            raise InvalidSettings(
                "STREAMFLOW_WEBHOOK_URL is set, and nothing to sign its events with: the receiver "
                "couldn't tell them from others.",
                "Set STREAMFLOW_WEBHOOK_SECRET, for example to what `openssl rand -hex 32` prints, "
                "and give it to the receiver.",
            )
        _require_reader(settings)
        return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
    except ValidationError as error:
        first = error.errors()[0]
        name, *inside = (str(part) for part in first["loc"])
        shown = f"={first['input']!r}" if name not in _PRIVATE else ""
        within = f" (at {'.'.join(inside)})" if inside else ""
        raise _invalid(name, f"{shown} can't be used{within}: {first['msg']}") from error
    except RecursionError as error:
        raise InvalidSettings(
            "A setting in JSON is nested too deeply.",
            "Correct STREAMFLOW_ONLINE_STORE or STREAMFLOW_ROLE_PASSWORDS.",
        ) from error
    except SettingsError as error:  # its message names the field
        name = next((one for one in Settings.model_fields if f'"{one}"' in str(error)), "")
        raise _invalid(name, " isn't the JSON that it should be") from error
    except RuntimeError as error:  # of a home in a stranger's folder: `~name`
        raise _invalid("home", f" can't be used: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(
            f"The file .env can't be read: {error}.", "Correct it, or move it away."
        ) from error


# Settings whose values may hold a password.
_PRIVATE = {
    *("database_url", "role_passwords", "mlflow_database_url", "mlflow_tracking_uri"),
    *("online_store", "api_key", "promote_key", "webhook_url", "webhook_secret"),
    "spark_remote",
}


def _require_reader(settings: Settings) -> None:
    """Raise InvalidSettings if the engine doesn't read history where it is."""
    history, engine = settings.history, settings.engine
    if history != "postgres" and engine == "postgres":
        raise InvalidSettings(
            f"STREAMFLOW_HISTORY={history} is read by DuckDB or by Spark, and STREAMFLOW_ENGINE is "
            f"{engine}.",
            "Set STREAMFLOW_ENGINE=duckdb, or STREAMFLOW_ENGINE=spark.",
        )
    if not history.startswith(("postgres", "file:")) and engine == "spark":
        raise InvalidSettings(
            f"STREAMFLOW_HISTORY={history} is in an object store, which is read by DuckDB alone, "
            f"and STREAMFLOW_ENGINE is {engine}.",
            "Set STREAMFLOW_ENGINE=duckdb, or STREAMFLOW_HISTORY=file:///FOLDER, which all "
            "executors have.",
        )


def _invalid(name: str, reason: str) -> InvalidSettings:
    variable = f"STREAMFLOW_{name.upper()}"
    return InvalidSettings(
        f"{variable}{reason}.", f"Correct {variable} in the environment or in .env."
    )
