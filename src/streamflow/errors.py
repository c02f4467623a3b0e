"""Every error that a user can meet: what happened, to which one, and the next command to type.

    StreamFlowError
    ├── InvalidSettings              a setting, or the use case that it names, can't be used
    ├── UnknownPrediction            a request id that the prediction log doesn't hold
    ├── NotPermitted                 something that the database's user may not do
    ├── SchemaTooOld                 the database lacks a migration, and we may not apply it
    ├── SchemaTooNew                 the database was migrated by a newer program
    ├── SchemaChanged                a migration isn't the one that was applied
    ├── KeyNotFound                  an API key that was never made
    ├── KeyRefused                   one that can't be made, or wasn't and is needed
    ├── AccessRefused                a question to the API, or a promotion, without the key for it;
    │                            kinds: `refusals`
    ├── BackupRefused                one that can't be taken or restored; nothing was changed
    │   ├── TamperedBackup           it isn't what was written
    │   └── NotEmpty                 something is where it should be restored to
    ├── DataRefused                  input that was turned away; nothing was changed
    │   ├── MissingFiles             a table of the month has no file
    │   ├── UnreadableFile           not the kind of file that was asked for
    │   ├── ContractViolation        a row or a file breaks its table's contract
    │   ├── RecordedAtRefused        a time of knowing in the future, or before what is known
    │   ├── AsOfRefused              a day that hasn't ended, or that has no data
    │   ├── KnownAtRefused           a time of knowing that is yet to come
    │   ├── LabelsNotMatured         answers that could not be known yet
    │   └── UntrainableData          too few rows, one class, nulls or categories beyond measure
    ├── ServiceUnavailable           something that we depend on doesn't answer
    │   ├── DatabaseUnavailable
    │   ├── MlflowUnavailable
    │   ├── FeatureStoreUnavailable
    │   ├── Overloaded               more is asked than can be answered in time
    │   ├── PortInUse
    │   └── ProcessFailed            a child process ended or never became ready
    ├── ModelRefused                 a version that can't be had, trained, promoted or served
    │   ├── UnknownModel
    │   ├── UnknownVersion
    │   ├── UnknownRun
    │   ├── NoLineage                a run that doesn't say what it was made from
    │   ├── EnvironmentNotRestored   where a run was made can't be had again
    │   ├── NothingToRollBack
    │   ├── GateFailed               the acceptance bar isn't met
    │   ├── ServedFormDiffers        what would be served doesn't equal what was trained
    │   └── UnservableModel          needs what the feature store can't give, or can't be written
    │                                in a form free of code
    └── NoAnswer                     a prediction that would have been a guess
        ├── NoProductionModel
        ├── UnknownEntity
        ├── MissingFeatures
        ├── StaleFeatures
        └── UnseenCategory

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
    pass


class UnknownPrediction(StreamFlowError):
    pass


class NotPermitted(StreamFlowError):
    pass


class SchemaTooOld(StreamFlowError):
    pass


class SchemaTooNew(StreamFlowError):
    pass


class SchemaChanged(StreamFlowError):
    pass


class KeyNotFound(StreamFlowError):
    pass


class KeyRefused(StreamFlowError):
    pass


class AccessRefused(StreamFlowError):
    """`key_id` is the key's, if one was given that is known."""

    key_id: int | None = None


class BackupRefused(StreamFlowError):
    pass


class TamperedBackup(BackupRefused):
    def __init__(self, file: object, member: str, what: str) -> None:
        super().__init__(
            f"{file} was damaged or changed: {member} {what}.", "Restore another backup."
        )


class NotEmpty(BackupRefused):
    pass


class DataRefused(StreamFlowError):
    pass


class MissingFiles(DataRefused):
    pass


class UnreadableFile(DataRefused):
    pass


class ContractViolation(DataRefused):
    pass


class RecordedAtRefused(DataRefused):
    pass


class AsOfRefused(DataRefused):
    pass


class KnownAtRefused(DataRefused):
    pass


class LabelsNotMatured(DataRefused):
    pass


class UntrainableData(DataRefused):
    pass


class ServiceUnavailable(StreamFlowError):
    pass


class DatabaseUnavailable(ServiceUnavailable):
    pass


class MlflowUnavailable(ServiceUnavailable):
    pass


class FeatureStoreUnavailable(ServiceUnavailable):
    pass


class Overloaded(ServiceUnavailable):
    def __init__(self, under_way: int) -> None:
        super().__init__(
            f"More is asked than can be answered in time: {under_way} predictions are under way.",
            "Ask again in a moment; if it stays so, add workers with STREAMFLOW_API_WORKERS.",
        )


class PortInUse(ServiceUnavailable):
    pass


class ProcessFailed(ServiceUnavailable):
    pass


class ModelRefused(StreamFlowError):
    pass


class UnknownModel(ModelRefused):
    pass


class UnknownVersion(ModelRefused):
    pass


class UnknownRun(ModelRefused):
    pass


class NoLineage(ModelRefused):
    pass


class EnvironmentNotRestored(ModelRefused):
    pass


class NothingToRollBack(ModelRefused):
    pass


class GateFailed(ModelRefused):
    pass


class ServedFormDiffers(ModelRefused):
    pass


class UnservableModel(ModelRefused):
    pass


class NoAnswer(StreamFlowError):
    pass


class NoProductionModel(NoAnswer):
    def __init__(self, model: str) -> None:
        super().__init__(
            f"No version of {model!r} is in Production.",
            "Run `streamflow train`, then `streamflow promote`.",
        )


class UnknownEntity(NoAnswer):
    def __init__(self, join_key: str, value: str) -> None:
        super().__init__(
            f"No feature of {join_key} {value!r} is in the online store.",
            "Check the id, or load its month: `streamflow ingest`, then `streamflow materialize`.",
        )


class MissingFeatures(NoAnswer):
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
        told = ", ".join(
            f"{view} is {age / 86400:.0f} days old (allowed: {allowed / 86400:.0f})"
            for view, (age, allowed) in ages.items()
        )
        super().__init__(
            f"Features are older than the model allows: {told}.",
            "Run `streamflow ingest` for the newest month, then `streamflow materialize`.",
        )


class UnseenCategory(NoAnswer):
    def __init__(self, feature: str, value: str) -> None:
        self.feature = feature
        super().__init__(
            f"Feature {feature!r} has the value {value!r}, which the model never saw in training.",
            "Train on a month that has it with `streamflow train`.",
        )
