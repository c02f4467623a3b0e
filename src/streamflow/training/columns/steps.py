"""What fitted steps do to columns: scikit-learn's and skrub's, as far as they go column by column.

A step that takes texts and booleans alone needn't be known: it is asked for each of their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from streamflow.training.columns.outputs import Operation, Output, Probe, Unproved, names_of

# Those take several columns, each for itself; any step does that with one.
COLUMN_BY_COLUMN = ("OneHotEncoder", "OrdinalEncoder", "TargetEncoder", "KBinsDiscretizer")
CAN = (
    "SimpleImputer, MissingIndicator, StandardScaler, MinMaxScaler, MaxAbsScaler and RobustScaler "
    "of numbers, any encoder of texts, ColumnTransformer, FeatureUnion, selections and "
    "skrub.TableVectorizer can"
)

Columns = tuple[list[Output], Any]


def trace(step: Any, outputs: Sequence[Output], sample: Any, probe: Probe) -> Columns:
    """The columns after a fitted step, and what it makes of the probe's rows.

    Raises Unproved for a step whose columns can't be followed.
    """
    kind = type(step).__name__
    # A ColumnTransformer has "passthrough" as a FunctionTransformer without a function.
    if (
        step is None
        or step == "passthrough"
        or (kind == "FunctionTransformer" and step.func is None)
    ):
        return list(outputs), sample
    if kind in _COMPOSED:
        return _COMPOSED[kind](step, outputs, sample, probe)
    made = step.transform(sample)
    if kind in _KNOWN:
        return _KNOWN[kind](step, outputs), made
    if kind == "TableVectorizer":
        return _vectorized(step, outputs, sample, made), made
    if hasattr(step, "get_support"):
        return [one for one, kept in zip(outputs, step.get_support(), strict=True) if kept], made
    return _tabulated(step, outputs, made, probe), made


def dense(sample: Any) -> Any:
    """The rows as an array, whatever a step makes of them."""
    return np.asarray(sample.toarray() if hasattr(sample, "toarray") else sample)


def _tabulated(step: Any, outputs: Sequence[Output], made: Any, probe: Probe) -> list[Output]:
    numbers = [one for one in outputs if one.operations is not None]
    kind, schema = type(step).__name__, probe.schema
    if numbers:
        raise Unproved(f"{kind} of numbers ({names_of(numbers, schema)})")
    features = dict.fromkeys(one.feature for one in outputs)
    if len(outputs) > 1 and kind not in COLUMN_BY_COLUMN:
        raise Unproved(f"{kind} of several columns at once ({names_of(outputs, schema)})")
    found = []
    for column in dense(made).T:
        sources = [one for one in probe.sources(column) if one in features]
        if len(sources) > 1:
            raise Unproved(f"{kind}, which mixes columns ({names_of(outputs, schema)})")
        # What no value changes is a constant, of any feature.
        found.append(Output(sources[0] if sources else next(iter(features)), None))
    return found


def _pipeline(step: Any, outputs: Sequence[Output], sample: Any, probe: Probe) -> Columns:
    done = list(outputs)
    for _, one in step.steps:
        done, sample = trace(one, done, sample, probe)
    return done, sample


def _union(step: Any, outputs: Sequence[Output], sample: Any, probe: Probe) -> Columns:
    found: list[Output] = []
    if step.transformer_weights:
        raise Unproved("FeatureUnion with weights")
    for _, one in step.transformer_list:
        if one not in (None, "drop"):
            found += trace(one, outputs, sample, probe)[0]
    return found, step.transform(sample)


def _by_columns(step: Any, outputs: Sequence[Output], sample: Any, probe: Probe) -> Columns:
    if step.transformer_weights:
        raise Unproved("ColumnTransformer with weights")
    found: list[Output] = []
    for _, one, chosen in step.transformers_:
        if isinstance(one, str) and one == "drop":
            continue
        places = _places(sample, chosen)
        if len(places):
            part = _part(sample, chosen)
            found += trace(one, [outputs[place] for place in places], part, probe)[0]
    return found, step.transform(sample)


def _part(sample: Any, chosen: Any) -> Any:
    if hasattr(sample, "columns"):
        if isinstance(chosen, str):
            return sample[chosen]
        return sample.iloc[:, list(_places(sample, chosen))]
    return sample[:, chosen]


def _places(sample: Any, chosen: Any) -> list[int]:
    """The numbers of the columns that a ColumnTransformer's entry names in any of its ways."""
    numbers = np.arange(sample.shape[1])
    if not hasattr(sample, "columns"):
        return list(np.atleast_1d(numbers[chosen]))
    names = list(sample.columns)
    if isinstance(chosen, str):
        return [names.index(chosen)]
    if isinstance(chosen, slice):
        if isinstance(chosen.start, str) or isinstance(chosen.stop, str):
            first = names.index(chosen.start) if chosen.start is not None else 0
            last = names.index(chosen.stop) if chosen.stop is not None else len(names) - 1
            return list(range(first, last + 1))
        return list(numbers[chosen])
    if np.ndim(chosen) == 0:
        return [int(chosen)]
    picked = list(chosen)
    if picked and isinstance(picked[0], str):
        return [names.index(one) for one in picked]
    return list(numbers[np.asarray(picked, dtype=bool if _is_mask(picked) else np.int64)])


def _is_mask(picked: Sequence[Any]) -> bool:
    return bool(picked) and isinstance(picked[0], bool | np.bool_)


def _vectorized(step: Any, outputs: Sequence[Output], sample: Any, made: Any) -> list[Output]:
    """skrub's TableVectorizer: numbers become float32, whatever is no number goes by its values."""
    by_name = dict(zip(sample.columns, outputs, strict=True))
    source = {name: column for column, names in step.input_to_outputs_.items() for name in names}
    found = []
    for name in made.columns:
        column = source[name]
        output = by_name[column]
        if output.operations is not None:
            how = type(step.transformers_.get(column)).__name__
            if how != "PassThrough":
                raise Unproved(f"TableVectorizer with {how} of numbers ({column})")
            output = Output(output.feature, (*output.operations, ("float32", 0.0)), narrow=True)
        found.append(output)
    return found


def _imputed(step: Any, outputs: Sequence[Output]) -> list[Output]:
    if step.missing_values == step.missing_values and step.missing_values is not None:
        raise Unproved(f"SimpleImputer with missing_values={step.missing_values!r}")
    statistics = step.statistics_
    kept = [
        one.then(("fill", value)) if one.operations is not None else one
        for one, value in zip(outputs, statistics, strict=True)
        if step.keep_empty_features or step.strategy == "constant" or value == value
    ]
    indicator = step.indicator_
    return [*kept, *(_indicated(indicator, outputs) if indicator is not None else [])]


def _indicated(step: Any, outputs: Sequence[Output]) -> list[Output]:
    return [outputs[place].then(("is null", 0.0)) for place in step.features_]


def _scaled(*names: tuple[str, str]) -> Callable[[Any, Sequence[Output]], list[Output]]:
    """Operations by the names of the attributes that hold their numbers, one per column."""

    def scaled(step: Any, outputs: Sequence[Output]) -> list[Output]:
        found = list(outputs)
        for operation, attribute in names:
            own = getattr(step, attribute)
            if own is not None:
                found = [
                    one.then((operation, float(value)))
                    for one, value in zip(found, own, strict=True)
                ]
        return [one.then(*_limits(step)) for one in found]

    return scaled


def _limits(step: Any) -> list[Operation]:
    if not getattr(step, "clip", False):
        return []
    least, most = getattr(step, "feature_range", (-1.0, 1.0))
    return [("at least", float(least)), ("at most", float(most))]


_COMPOSED: dict[str, Callable[[Any, Sequence[Output], Any, Probe], Columns]] = {
    "Pipeline": _pipeline,
    "FeatureUnion": _union,
    "ColumnTransformer": _by_columns,
}
_KNOWN: dict[str, Callable[[Any, Sequence[Output]], list[Output]]] = {
    "SimpleImputer": _imputed,
    "MissingIndicator": _indicated,
    "StandardScaler": _scaled(("subtract", "mean_"), ("divide", "scale_")),
    "MinMaxScaler": _scaled(("multiply", "scale_"), ("add", "min_")),
    "MaxAbsScaler": _scaled(("divide", "scale_")),
    "RobustScaler": _scaled(("subtract", "center_"), ("divide", "scale_")),
}
