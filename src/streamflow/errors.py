"""Every error that a user can meet: what happened, to what, and the next command to type.

    StreamFlowError
    ├── InvalidSettings              a setting, or the use case that it names, can't be used
    │   └── UseCaseRefused           with the line to write instead; in `use_case.findings`
    ├── NothingPredicted             a file of ids that has no prediction; in `pipeline.predict`
    ├── UnknownPrediction            a request id that the log doesn't hold; or `NothingToCompare`
    ├── MonthUnderWay                another `run-month` runs; in `pipeline.month.month_lock`
    ├── NotMonitored                 a month without a monitoring; in `monitoring.recorded`
    ├── NoScoring                    a month that nobody was scored at; in `scores.scorings`
    ├── UnknownScore, NotScored      an entity without a stored score; in `scores.one_score`
    ├── NotPermitted                 something that the database's user may not do
    ├── SchemaTooOld, SchemaTooNew   by a migration that we may not apply, or don't know
    ├── SchemaChanged                a migration isn't the one that was applied
    ├── KeyNotFound, KeyRefused      an API key that isn't there, or can't be created
    ├── AccessRefused                a request to the API, or a promotion, without the key for it;
    │   │                            its kinds are in `keys.errors` and `console.access.errors`
    │   ├── KeyMissing, KeyUnknown, KeyRevoked, KeyExpired, KeyInQuery, ForeignHost, FormTooLarge
    │   └── ScopeMissing, RateLimited, HostUnknown, SessionUnknown, SessionOver, FormRefused
    ├── InvalidRequest, NotFound, MethodNotAllowed, ContentTooLarge, HeadTooLarge,
    │   MalformedRequest, RequestTimeout, InternalError, PageNotFound, FieldRefused
    │                                a request that isn't as its documentation says, or
    │                                that failed; in `api.request_errors`; ActFailed elsewhere
    ├── BackupRefused                a backup that can't be made or restored; nothing was changed;
    │   │                            its kinds are in `operations.backup_errors`
    │   ├── TamperedBackup           it isn't what was written
    │   └── NotEmpty                 where it should be restored to, something exists
    ├── DataRefused                  input that was refused; nothing was changed
    │   ├── MissingFiles, NotArrived a table of the month has no file, or none yet
    │   ├── UnreadableFile           not the kind of file that is needed
    │   ├── ContractViolation        a row or a file breaks its table's contract
    │   ├── RecordedAtRefused        a recorded_at in the future, or before the newest one
    │   ├── AsOfRefused              a day that hasn't ended, or that has no data
    │   ├── KnownAtRefused           a known_at in the future; NotForgotten, UnknownPerson elsewhere
    │   ├── LabelsNotMatured         labels that could not be known yet
    │   ├── UnknownIngestion         a number that no ingestion has; as AnotherMonth in `history`
    │   ├── LimitRefused, TooLongForExcel, ContactsRefused, OtherList, UnknownList: of lists
    │   └── UntrainableData          too few rows, one class, nulls; TooFewToCalibrate elsewhere
    ├── ServiceUnavailable           something that we depend on doesn't answer
    │   ├── DatabaseUnavailable, MlflowUnavailable, FeatureStoreUnavailable
    │   ├── Overloaded               more requests than can be served in time
    │   ├── PortInUse, TooMuchAtOnce (in `console.acts.act`)
    │   └── ProcessFailed            a child process ended or never became ready
    ├── ModelRefused                 a version that can't be found, trained, promoted or served
    │   ├── UnknownModel, UnknownVersion, UnknownRun, NotInStaging, NotInProduction
    │   ├── NoLineage                a run that doesn't record what it was made from
    │   ├── EnvironmentNotRestored   a run's environment can't be installed again
    │   ├── NothingToRollBack, UngatedProduction (in `promotion.admission.admitted`)
    │   ├── CannotBeExplained (in `pipeline.month.scored_rows`), GateFailed, PromotedMeanwhile
    │   │                            it may not go to Production; in `promotion.errors`
    │   ├── ServedFormDiffers        what would be served doesn't equal what was trained
    │   └── UnservableModel          needs what the feature store lacks, or has no form free of code
    └── NoAnswer                     a prediction that would have been a guess
        ├── NoProductionModel, UnknownEntity, MissingFeatures, StaleFeatures
        └── UnseenCategory, UnseenNull; Departed is in `serving.feature_status`

HTTP status codes belong to `streamflow.api`, exit codes to `streamflow.cli`.
"""

from __future__ import annotations

import re


class StreamFlowError(Exception):
    """What went wrong, in `message`, and what to type next, in `next`."""

    def __init__(self, message: str, next: str) -> None:
        super().__init__(message)
        self.message = message
        self.next = next

    @property
    def code(self) -> str:
        """The error's stable name for programs: `NoProductionModel` is `no_production_model`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).lower()

    def __str__(self) -> str:
        return f"{self.message} {self.next}"


class InvalidSettings(StreamFlowError):
    """A setting, or the use case that it names, can't be used."""


class UnknownPrediction(StreamFlowError):
    """The prediction log has no prediction with the request id."""


class NotPermitted(StreamFlowError):
    """The database's user has no right to do this."""


class SchemaTooOld(StreamFlowError):
    """The database lacks a migration that this user may not apply."""


class SchemaTooNew(StreamFlowError):
    """A newer program has migrated the database."""


class SchemaChanged(StreamFlowError):
    """A migration differs from the one that was applied."""


class KeyNotFound(StreamFlowError):
    """No API key has this id."""


class KeyRefused(StreamFlowError):
    """An API key can't be created, or one is needed and doesn't exist."""


class AccessRefused(StreamFlowError):
    """`key_id` is the key's, if one was given that is known."""

    key_id: int | None = None


class DataRefused(StreamFlowError):
    """Input was refused; nothing was changed."""


class MissingFiles(DataRefused):
    """A table of the month has no file."""


class UnreadableFile(DataRefused):
    """The file isn't of the kind that is needed."""


class ContractViolation(DataRefused):
    """A row or a file breaks its table's contract."""


class RecordedAtRefused(DataRefused):
    """The recorded_at is in the future, or before the newest one in history."""


class AsOfRefused(DataRefused):
    """The as_of is a day that hasn't ended, or that has no data."""


class KnownAtRefused(DataRefused):
    """The known_at is in the future."""


class LabelsNotMatured(DataRefused):
    """Labels could not be known yet at the known_at."""


class UntrainableData(DataRefused):
    """The training set has too few rows, one class, nulls, or too many categories."""


class ServiceUnavailable(StreamFlowError):
    """Something that StreamFlow depends on doesn't respond."""


class DatabaseUnavailable(ServiceUnavailable):
    """PostgreSQL doesn't respond."""


class MlflowUnavailable(ServiceUnavailable):
    """MLflow doesn't respond."""


class FeatureStoreUnavailable(ServiceUnavailable):
    """The online store doesn't respond."""


class Overloaded(ServiceUnavailable):
    """More requests than can be served within the latency budget; `under_way` counts ids."""

    def __init__(self, under_way: int) -> None:
        super().__init__(
            f"More is asked than can be answered in time: {under_way} predictions are under way.",
            "Ask again in a moment; if it stays so, add workers with STREAMFLOW_API_WORKERS.",
        )


class PortInUse(ServiceUnavailable):
    """Another program listens on the port."""


class ProcessFailed(ServiceUnavailable):
    """A child process ended, or never became ready."""


class ModelRefused(StreamFlowError):
    """A version can't be found, trained, promoted or served."""


class UnknownModel(ModelRefused):
    """No model has this name."""


class UnknownVersion(ModelRefused):
    """The model has no such version."""


class UnknownRun(ModelRefused):
    """MLflow has no such run."""


class NoLineage(ModelRefused):
    """The run doesn't record what it was made from."""


class EnvironmentNotRestored(ModelRefused):
    """The run's environment can't be installed again."""


class NothingToRollBack(ModelRefused):
    """No version was in Production before this one."""


class ServedFormDiffers(ModelRefused):
    """The served form's scores differ from the trained estimator's."""


class UnservableModel(ModelRefused):
    """The feature store lacks what the model needs, or it has no form free of code."""


class NoAnswer(StreamFlowError):
    """A prediction isn't made, because it would be a guess."""


class NoProductionModel(NoAnswer):
    """No version of the model is in Production."""

    def __init__(self, model: str) -> None:
        super().__init__(
            f"No version of {model!r} is in Production.",
            "Run `streamflow train`, then `streamflow promote`.",
        )


class UnknownEntity(NoAnswer):
    """The online store has no feature of the entity."""

    def __init__(self, join_key: str, value: str) -> None:
        super().__init__(
            f"No feature of {join_key} {value!r} is in the online store.",
            "Check the id, or load its month: `streamflow ingest`, then `streamflow materialize`.",
        )


class MissingFeatures(NoAnswer):
    """`features` names those that the model needs and the online store lacks."""

    def __init__(self, features: list[str]) -> None:
        self.features = features
        super().__init__(
            f"The online store lacks {len(features)} feature(s) that the model needs: "
            f"{', '.join(features)}.",
            "Load the month's complete tables with `streamflow ingest`, "
            "then `streamflow materialize`.",
        )


class StaleFeatures(NoAnswer):
    """`ages` holds, per feature view, its age and the age that the model allows, in seconds."""

    def __init__(self, ages: dict[str, tuple[float, float]]) -> None:
        self.ages = ages
        listed = ", ".join(
            f"{view} is {age / 86400:.0f} days old (allowed: {allowed / 86400:.0f})"
            for view, (age, allowed) in ages.items()
        )
        super().__init__(
            f"Features are older than the model allows: {listed}.",
            "Run `streamflow ingest` for the newest month, then `streamflow materialize`.",
        )


_UNSEEN = 'Run `streamflow train` on a month that has it, or with `unseen={{"{}": "warn"}}`.'


class UnseenCategory(NoAnswer):
    """A feature has a value that training never saw."""

    def __init__(self, feature: str, value: str) -> None:
        self.feature = feature
        super().__init__(
            f"Feature {feature!r} has the value {value!r}, which the model never saw in training.",
            _UNSEEN.format(feature),
        )


class UnseenNull(NoAnswer):
    """A feature is null, and training never saw a null there."""

    def __init__(self, feature: str) -> None:
        self.feature = feature
        super().__init__(
            f"Feature {feature!r} is null, which the model never saw in training.",
            _UNSEEN.format(feature),
        )
