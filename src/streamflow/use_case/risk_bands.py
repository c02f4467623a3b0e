"""Names for ranges of the probability, for people who read scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from streamflow.use_case.findings import Finding

_EXAMPLE = 'risk_bands={"high": 0.5, "medium": 0.2, "low": 0.0}'


def risk_band(bands: Mapping[str, float], probability: float) -> str | None:
    """The band of a probability: of those whose lowest probability isn't above it, the highest.

    None if there is none.
    """
    reached = {name: lowest for name, lowest in bands.items() if lowest <= probability}
    return max(reached, key=reached.__getitem__, default=None)


def risk_band_findings(bands: object) -> Iterator[Finding]:
    """What is wrong with the bands."""
    if not isinstance(bands, Mapping):
        yield Finding(
            "risk_bands", "it isn't a mapping from names to lowest probabilities", _EXAMPLE
        )
        return
    for name, lowest in bands.items():
        if not isinstance(name, str) or not name.strip():
            yield Finding("risk_bands", f"{name!r} isn't a name", _EXAMPLE)
        is_number = isinstance(lowest, int | float) and not isinstance(lowest, bool)
        if not is_number or not 0 <= lowest < 1:
            yield Finding(
                "risk_bands",
                f"{name!r} begins at {lowest!r}, not at a probability of at least 0, below 1",
                _EXAMPLE,
            )
    bounds = [*bands.values()]
    for lowest in sorted({one for one in bounds if bounds.count(one) > 1}, key=str):
        names = ", ".join(repr(name) for name, one in bands.items() if one == lowest)
        yield Finding("risk_bands", f"{names} begin at the same probability {lowest!r}", _EXAMPLE)
