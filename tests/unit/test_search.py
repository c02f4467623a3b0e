"""A search for a model: on folds of the training rows alone, the same each time, judged once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.orchard import OTHERS, orchard, real_month, small_forest

from churn.model import MODELS, SEARCH
from streamflow.errors import InvalidSettings, UntrainableData
from streamflow.training import candidate, fit
from streamflow.training.candidate import Recipe
from streamflow.training.dataset import TrainingSet
from streamflow.training.evaluation import evaluate
from streamflow.training.search.folds import folds
from streamflow.training.search.search import Search, Searched, search
from streamflow.training.served_model import Feature
from streamflow.training.split import Validation
from streamflow.use_case import OneOf, Range

RANDOM = Validation("random", 0.25)


def linear(random_state: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1e-6, max_iter=200, random_state=random_state)


def broken(random_state: int) -> Any:
    estimator = linear(random_state)
    estimator.set_params(C=-1.0)
    return estimator


BUILDERS = {"linear": linear, "forest": small_forest}
SPACES = {
    "linear": {"C": Range(1e-6, 10.0, log=True), "class_weight": OneOf((None, "balanced"))},
    "forest": {"max_depth": Range(1, 3)},
}
WANTED = Search(8, BUILDERS, SPACES)


def searched(wanted: Search = WANTED, rows: TrainingSet | None = None) -> Searched:
    training_set = rows or orchard()
    training = fit.parts_of(training_set, RANDOM, timedelta(0), 42).training_rows
    return search(wanted, training_set, training, RANDOM, timedelta(0), 42)


@pytest.fixture(scope="module")
def found() -> Searched:
    return searched()


def test_each_model_is_tried_as_it_is_built_before_the_space_and_the_best_wins(
    found: Searched,
) -> None:
    assert [(one.model, one.parameters) for one in found.trials[:2]] == [
        ("linear", {}),
        ("forest", {}),
    ]
    assert len(found.trials) == 8
    assert all(len(one.aucs) == 5 for one in found.trials)
    assert found.winner.auc == max(one.auc for one in found.trials)
    for one in found.trials[2:]:
        assert set(one.parameters) == set(SPACES[one.model])


def test_the_same_seed_gives_the_same_trials_and_fewer_trials_are_the_first_of_them(
    found: Searched,
) -> None:
    assert searched() == found
    shorter = searched(replace(WANTED, trials=100, minutes=0.0, made=5))
    assert shorter.trials == found.trials[:5]


def test_after_the_time_no_trial_begins_but_the_first(found: Searched) -> None:
    assert searched(replace(WANTED, minutes=0.0)).trials == found.trials[:1]


def test_rows_that_judge_are_in_no_trial(found: Searched) -> None:
    whole = orchard()
    judging = fit.parts_of(whole, RANDOM, timedelta(0), 42).validation_rows
    noise = np.array(whole.columns["noise"])
    noise[judging] = 1e6
    assert searched(rows=replace(whole, columns={**whole.columns, "noise": noise})) == found


def test_a_trial_that_fails_is_told_and_none_at_all_is_an_error(found: Searched) -> None:
    mixed = searched(Search(4, {"broken": broken, "linear": linear}, {"linear": SPACES["linear"]}))
    assert mixed.trials[0].failure.startswith("InvalidParameterError")
    assert mixed.winner.model == "linear"
    with pytest.raises(UntrainableData, match="None of 1 trials could be fitted"):
        searched(Search(4, {"broken": broken}, {}))
    with pytest.raises(InvalidSettings, match="'depth', which LogisticRegression doesn't have"):
        searched(Search(4, {"linear": linear}, {"linear": {"depth": Range(1, 2)}}))


def test_the_candidate_is_the_winner_and_refits_with_its_parameters(tmp_path: Path) -> None:
    only = Search(4, {"forest": small_forest}, {"forest": {"max_depth": Range(1, 2)}})
    recipe = Recipe(orchard(), linear, 42, RANDOM, refit=True, search=only)
    made = candidate.make_candidate(recipe, tmp_path / "served")
    assert made.searched is not None
    chosen = made.searched.winner
    for fitted in (made.judged, made.fitted):
        parameters: Any = fitted.estimator.get_params()
        assert parameters["n_estimators"] == 20
        assert parameters["max_depth"] == chosen.parameters.get("max_depth")
    assert candidate.built(recipe, made).get_params() == made.fitted.estimator.get_params()
    again = replace(only, trials=9, made=4)
    assert (
        candidate.make_candidate(replace(recipe, search=again), tmp_path / "again").model_hash
        == made.model_hash
    )


def test_out_of_time_folds_train_on_months_before_the_one_they_are_judged_on() -> None:
    months = [date(2024, month, 28) for month in range(1, 7)]
    as_ofs = [month for month in months for _ in range(10)]
    entities = [f"e{number:03}" for number in range(60)]
    labels = np.array([number % 2 for number in range(60)])
    rows = np.arange(50)  # the newest month judges the model
    made = folds(
        Validation("out-of-time", 0.25), entities, as_ofs, labels, timedelta(days=40), 42, rows
    )
    told = [
        (
            max(as_ofs[row] for row in one.training_rows),
            {as_ofs[row] for row in one.validation_rows},
        )
        for one in made.splits
    ]
    assert told == [
        (months[2], {months[4]}),
        (months[1], {months[3]}),
        (months[0], {months[2]}),
    ]
    assert made.said == "3 months, each after training on those before it"


@pytest.mark.slow
@pytest.mark.parametrize(("others", "least"), [((), 0.831), (OTHERS, 0.843)], ids=["14", "20"])
def test_by_its_own_choice_the_real_month_is_learnt_as_well_as_it_can_be(
    others: tuple[Feature, ...], least: float
) -> None:
    """The mean over parts of the rows; a quarter of 7,043 subscribers alone may say 0.02 less."""
    whole = real_month(others)
    training = fit.parts_of(whole, RANDOM, timedelta(0), 42).training_rows
    found = search(Search(10, MODELS, SEARCH), whole, training, RANDOM, timedelta(0), 42)
    assert found.winner.auc >= least
    fitted = fit.fit(whole, found.winner.build(MODELS), 42, RANDOM)
    judged = evaluate(fitted.validation_labels, *fitted.predict(), 42)
    assert judged.auc_low < least < judged.auc_high
