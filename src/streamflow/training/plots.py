"""Five pictures of a model's quality, each a PNG."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from streamflow.training.served_model import Labels, Matrix

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from streamflow.training.backtest import Backtested, Judged

INK, BLUE, GREY, PALE, ORANGE = "#22272e", "#2b6cb0", "#9aa3ad", "#e6e9ed", "#c05621"


def draw(
    labels: Labels,
    probabilities: Matrix,
    predictions: Labels,
    importances: Mapping[str, float],
    folder: Path,
) -> list[Path]:
    """Draw the ROC and precision-recall curves, calibration, confusion matrix and importances.

    `labels` and `predictions` are 0 or 1, `probabilities` are of 1, `importances` are shares of 1
    per feature. Returns the five files written into `folder`.
    """
    pictures: dict[str, Callable[[Axes], None]] = {
        "roc_curve": lambda axes: _roc(axes, labels, probabilities),
        "precision_recall_curve": lambda axes: _precision_recall(axes, labels, probabilities),
        "calibration": lambda axes: _calibration(axes, labels, probabilities),
        "confusion_matrix": lambda axes: _confusion(axes, labels, predictions),
        "feature_importance": lambda axes: _importance(axes, importances),
    }
    folder.mkdir(parents=True, exist_ok=True)
    return [_picture(folder / f"{name}.png", [paint]) for name, paint in pictures.items()]


def draw_backtest(backtested: Sequence[Backtested], file: Path) -> Path:
    """Draw, for each model, what was reported and what came true over the as_ofs, with intervals.

    Writes a PNG; figures of too few rows to tell are left out.
    """
    models = dict.fromkeys(one.model for one in backtested)

    def paint(model: str) -> Callable[[Axes], None]:
        return lambda axes: _curve(axes, model, [one for one in backtested if one.model == model])

    return _picture(file, [paint(model) for model in models], (9.0, 1.2 + 3.4 * len(models)))


def _curve(axes: Axes, model: str, backtested: Sequence[Backtested]) -> None:
    # Where only one month was known, there's no other model.
    several = {one.as_of: one for one in sorted(backtested, key=lambda one: len(one.months))}
    alone = {one.as_of: one for one in backtested if len(one.months) == 1}
    lines: list[tuple[str, str, str, list[tuple[date, Judged | None]]]] = [
        (
            *("Reported: random rows", ORANGE, "--"),
            [(day, one.at_random) for day, one in several.items()],
        ),
        (
            *("Reported: out of time", BLUE, "-"),
            [(day, one.out_of_time) for day, one in several.items()],
        ),
        ("Came true next", INK, "-", [(day, one.next) for day, one in several.items()]),
        (
            "Came true next, newest month alone",
            GREY,
            ":",
            [(d, one.next) for d, one in alone.items()],
        ),
    ]
    for label, colour, style, points in lines:
        told = sorted((day, one.told) for day, one in points if one is not None and one.told)
        if not told:
            continue
        days: list[Any] = [day for day, _ in told]
        aucs = [one.auc for _, one in told]
        low, high = [one.auc_low for _, one in told], [one.auc_high for _, one in told]
        axes.plot(
            days,
            aucs,
            color=colour,
            linestyle=style,
            linewidth=1.8,
            marker="o",
            markersize=3.5,
            label=label,
        )
        if colour == INK:
            axes.vlines(days, low, high, color=colour, linewidth=1, alpha=0.6)
        elif colour != GREY:
            axes.fill_between(days, low, high, color=colour, alpha=0.13, linewidth=0)
    axes.set(
        title=model, ylabel="AUC (bars, bands: 95 % interval)", xlabel="Day of scoring (as_of)"
    )
    axes.grid(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2, fontsize=9)


def _picture(
    path: Path, panels: Sequence[Callable[[Axes], None]], size: tuple[float, float] = (6.0, 5.4)
) -> Path:
    """A PNG of `size` inches, with one panel below the other."""
    from matplotlib import rc_context, rcdefaults, rcParams
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context():
        rcdefaults()  # a user's matplotlibrc would change the picture's bytes
        rcParams.update(
            {
                "font.size": 10,
                "axes.edgecolor": GREY,
                "axes.labelcolor": INK,
                "axes.titlelocation": "left",
                "axes.titlesize": 12,
                "axes.titlepad": 12,
                "axes.spines.top": False,
                "axes.spines.right": False,
                "axes.axisbelow": True,
                "grid.color": PALE,
                "text.color": INK,
                "xtick.color": INK,
                "ytick.color": INK,
                "legend.frameon": False,
                "figure.constrained_layout.h_pad": 0.12,
                "figure.constrained_layout.w_pad": 0.12,
            }
        )
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        for axes, paint in zip(
            figure.subplots(len(panels), 1, squeeze=False).ravel(), panels, strict=True
        ):
            paint(axes)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        figure.savefig(unfinished, format="png", metadata={"Software": None})
    return unfinished.replace(path)


def _unit_square(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y, xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_aspect("equal")
    axes.grid(True)


def _roc(axes: Axes, labels: Labels, probabilities: Matrix) -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    false_positives, true_positives, _ = roc_curve(labels, probabilities)
    area = roc_auc_score(labels, probabilities)
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="Chance, 0.500")
    axes.plot(false_positives, true_positives, color=BLUE, linewidth=2, label=f"Model, {area:.3f}")
    _unit_square(
        axes,
        "ROC curve",
        "False positive rate (share of all 0 called 1)",
        "True positive rate (share of all 1 called 1)",
    )
    axes.legend(loc="lower right", title="Area under the curve", alignment="left")


def _precision_recall(axes: Axes, labels: Labels, probabilities: Matrix) -> None:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, probabilities)
    average, chance = average_precision_score(labels, probabilities), float(np.mean(labels))
    axes.axhline(chance, color=GREY, linestyle="--", linewidth=1, label=f"Chance, {chance:.3f}")
    axes.plot(
        recall,
        precision,
        color=BLUE,
        linewidth=2,
        drawstyle="steps-post",
        label=f"Model, {average:.3f}",
    )
    _unit_square(
        axes,
        "Precision-recall curve",
        "Recall (share of all 1 that are found)",
        "Precision (share of found that are 1)",
    )
    axes.legend(loc="upper right", title="Average precision", alignment="left")


def _calibration(axes: Axes, labels: Labels, probabilities: Matrix) -> None:
    groups = [
        group
        for group in np.array_split(np.argsort(probabilities, kind="stable"), 10)
        if len(group)
    ]
    predicted = [float(np.mean(probabilities[group])) for group in groups]
    observed = np.array([float(np.mean(labels[group])) for group in groups])
    sizes = np.array([len(group) for group in groups])
    # Wilson's interval, which stays within 0 and 1 and isn't empty where all labels agree.
    z = 1.96
    middle = (observed + z**2 / (2 * sizes)) / (1 + z**2 / sizes)
    half = z * np.sqrt(observed * (1 - observed) / sizes + z**2 / (4 * sizes**2))
    half /= 1 + z**2 / sizes
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="Perfect")
    axes.vlines(predicted, middle - half, middle + half, color=BLUE, linewidth=1.2, alpha=0.6)
    axes.plot(
        predicted, observed, color=BLUE, marker="o", markersize=5, linewidth=1.5, label="Model"
    )
    _unit_square(
        axes,
        "Calibration, by tenths of the rows",
        "Mean predicted probability of 1",
        "Observed share of 1 (bars: 95 % interval)",
    )
    axes.legend(loc="upper left")


def _confusion(axes: Axes, labels: Labels, predictions: Labels) -> None:
    counts = np.bincount(2 * labels + predictions, minlength=4).reshape(2, 2)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15)
    for actual in (0, 1):
        for predicted in (0, 1):
            share = shares[actual, predicted]
            axes.text(
                predicted,
                actual,
                f"{counts[actual, predicted]:,}\n{100 * share:.1f} % of row",
                ha="center",
                va="center",
                fontsize=13,
                color="white" if share > 0.6 else INK,
            )
    axes.set(
        title="Confusion matrix (rows of the validation set)",
        xlabel="Predicted label",
        ylabel="Actual label",
        xticks=[0, 1],
        yticks=[0, 1],
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _importance(axes: Axes, importances: Mapping[str, float], most: int = 25) -> None:
    ranked = sorted(importances.items(), key=lambda item: item[1], reverse=True)
    shown = ranked[:most][::-1]
    shares = [100 * share for _, share in shown]
    bars = axes.barh([name for name, _ in shown], shares, color=BLUE, height=0.7)
    axes.bar_label(bars, fmt="%.1f", padding=4, fontsize=9)
    title = "Feature importance"
    if len(ranked) > most:
        title += f", {most} greatest of {len(ranked)}"
    axes.set(title=title, xlabel="Share of the model's importance (%)")
    axes.margins(x=0.1, y=0.01)
    axes.grid(True, axis="x")
    axes.tick_params(axis="y", length=0)
