"""Synthetic subscribers: their properties, how a month changes them, and which of them churn.

The same seed gives the same numbers on any machine. Random bits are raw PCG64 output, whose stream
numpy guarantees; it doesn't guarantee its distributions. The rest is integer arithmetic or single
additions, multiplications and roundings of float64, which IEEE 754 defines to the last bit. Tables
that need `exp` are rounded to 1/65536 before they are used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from churn.rule import Array, churn_chance

NET_SERVICES = ("DSL", "Fiber optic", "No")
CONTRACT_TYPES = ("Month-to-month", "One year", "Two year")
GENDERS = ("Female", "Male", "Other")
NO_INTERNET = 2

SUBSCRIBER = np.dtype(
    [
        ("number", np.int64),  # counts up over all subscribers ever; the user_id follows from it
        ("signup_month", np.int32),  # months since month_000
        ("signup_day", np.int8),  # 0 to 27
        ("gender", np.int8),
        ("senior", np.bool_),
        ("family", np.bool_),
        ("dependents", np.bool_),
        ("net", np.int8),
        ("contract", np.int8),
        ("paperless", np.bool_),
        ("stream_tv", np.bool_),
        ("stream_movies", np.bool_),
        ("fee", np.int32),  # cents, before the price rises of drift
        ("paid", np.int64),  # cents
        ("watch", np.int32),  # personal deviation from the usual hours, 1/10,000 h
        ("session", np.int32),  # personal level, 1/100 min
        ("skipping", np.int8),  # index of the personal rate
        ("devices", np.int8),
        ("pays_late", np.bool_),
    ]
)

OBSERVATION = np.dtype(
    [
        ("watch", np.int32),  # 1/10,000 h
        ("session", np.int32),  # 1/100 min
        ("devices", np.int8),
        ("skips", np.int16),
        ("rebuffers", np.int16),
        ("failed_payments", np.int8),
        ("tickets", np.int8),
        ("resolution", np.int16),  # 1/10 h
        ("churns", np.bool_),
    ]
)
_PART = 65_536  # rows observed at a time; another number would change the data

# Per 1,000 subscribers of a net service: their contracts; and the net services themselves.
_NET_SHARE = (344, 439, 217)
_CONTRACT_SHARE = ((505, 235, 260), (687, 174, 139), (343, 239, 418))

# Share by months active, piecewise linear, relative within a contract: (months, weight), ...
# They fall about as fast as subscribers leave; otherwise the months would drift by themselves.
_TENURE = (
    ((0, 700), (1, 1000), (6, 620), (12, 400), (24, 230), (48, 110), (72, 45), (110, 8), (150, 0)),
    ((0, 20), (6, 150), (12, 350), (24, 480), (48, 460), (72, 280), (110, 70), (150, 0)),
    ((0, 5), (12, 150), (24, 320), (48, 480), (72, 460), (96, 310), (130, 110), (150, 0)),
)
_LONGEST = 150
_CELLS = (len(NET_SERVICES), len(CONTRACT_TYPES), _LONGEST)

# Months stay alike by (net service, contract, age band); each band begins at these months.
_BANDS = np.array([0, 1, 3, 6, 12, 24, 48, 84])

_MOST_SHIFT = 5.0
_BELL_WIDTH = 37837.22701515  # standard deviation of the sum of four uniform 16-bit numbers


@dataclass(frozen=True)
class Month:
    """The panel in one month: `people` (dtype SUBSCRIBER), and `observed` (dtype OBSERVATION).

    `shift` is how many standard deviations drift has moved the distributions so far.
    """

    number: int
    shift: float
    people: Array
    observed: Array


def panel(
    users: int, months: int, seed: int, drift: float, rule_drift: float = 0.0
) -> Iterator[Month]:
    """The months in order. Each changes the arrays of the month before in place."""
    people = newcomers(seed, 0, users, 0, np.zeros(0, dtype=SUBSCRIBER))
    observed = observe(seed, 0, people, 0.0, 0.0)
    yield Month(0, 0.0, people, observed)
    ever = users
    for number in range(1, months):
        shift = min(drift * number / 12, _MOST_SHIFT)
        age_by_a_month(seed, number, people, shift)
        stays, leaving = people[~observed["churns"]], np.flatnonzero(observed["churns"])
        people[leaving] = newcomers(seed, number, len(leaving), ever, stays)
        ever += len(leaving)
        observed = observe(seed, number, people, shift, rule_drift * number / 12)
        yield Month(number, shift, people, observed)


def random_stream(seed: int, *subject: int) -> np.random.PCG64:
    """An independent random stream for each seed and subject, such as (purpose, month, part)."""
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=subject))


def uniform(stream: np.random.PCG64, size: int) -> Array:
    """`size` integers of 0 to 65,535 with equal probability, int64."""
    words = np.asarray(stream.random_raw((size + 3) // 4), dtype="<u8")
    return words.view("<u2")[:size].astype(np.int64)


def bell(stream: np.random.PCG64, size: int) -> Array:
    """`size` float64 of mean 0 and standard deviation 1, almost normal, at most 3.47 from 0."""
    sums: Array = uniform(stream, size * 4).reshape(size, 4).sum(axis=1)
    return (sums - 131_070) / _BELL_WIDTH


def happens(stream: np.random.PCG64, size: int, share: float | Array) -> Array:
    """`size` booleans, True with the probability `share` (one, or one per row)."""
    happening: Array = uniform(stream, size) < np.rint(np.asarray(share) * 65536)
    return happening


def poisson(mean: float, most: int) -> Array:
    """A table that turns `uniform` numbers into counts of a Poisson distribution cut at `most`."""
    term, total, bounds = math.exp(-mean), 0.0, []
    for count in range(most):
        total += term
        bounds.append(round(total * 65536))
        term *= mean / (count + 1)
    return np.searchsorted(np.array(bounds), np.arange(65536), side="right").astype(np.int64)


def usual_mix() -> Array:
    """How common each (net service, contract, months active) is, in integers."""
    mix = np.zeros(_CELLS, dtype=np.int64)
    for contract, knots in enumerate(_TENURE):
        weights = np.zeros(_LONGEST, dtype=np.int64)
        for (start, low), (end, high) in itertools.pairwise(knots):
            for months in range(start, end):
                weights[months] = low + (high - low) * (months - start) // (end - start)
        for net, share in enumerate(_NET_SHARE):
            scale = share * _CONTRACT_SHARE[net][contract] * 100
            mix[net, contract] = weights * scale // int(weights.sum())
    return mix


def months_active(people: Array, month: int) -> Array:
    """How many months each of `people` has been a subscriber in `month`, int64."""
    return month - people["signup_month"].astype(np.int64)


def newcomers(seed: int, month: int, count: int, first_number: int, staying: Array) -> Array:
    """`count` subscribers who were not in the panel before, numbered from `first_number`.

    They are drawn from the groups that `staying` lacks for the usual mix, so that months stay alike
    although subscribers age and new contracts churn most.
    """
    stream = random_stream(seed, 1, month)
    people = np.zeros(count, dtype=SUBSCRIBER)
    people["net"], people["contract"], tenure = _missing_groups(stream, month, count, staying)
    people["signup_month"] = month - tenure
    people["number"] = first_number + np.arange(count)
    people["signup_day"] = uniform(stream, count) * 28 // 65536
    people["gender"] = np.searchsorted([32_200, 65_200], uniform(stream, count), side="right")
    people["senior"] = happens(stream, count, 0.16)
    people["family"] = happens(stream, count, 0.48)
    people["dependents"] = happens(stream, count, np.where(people["family"], 0.52, 0.09))
    online = people["net"] != NO_INTERNET
    people["paperless"] = happens(stream, count, np.array([0.54, 0.77, 0.29])[people["net"]])
    likes_video = happens(stream, count, 0.5)
    for plan in ("stream_tv", "stream_movies"):
        people[plan] = happens(stream, count, np.where(likes_video, 0.75, 0.24)) & online
    people["fee"] = _first_fee(stream, people, tenure)
    ratio = 100_000 + np.rint(bell(stream, count) * 2_000).astype(np.int64)
    people["paid"] = people["fee"] * tenure * ratio // 100_000
    people["watch"] = np.rint(bell(stream, count) * 34_000)
    people["session"] = 2_914 + np.rint(bell(stream, count) * 650 + people["watch"] * 0.005)
    people["skipping"] = uniform(stream, count) * 3 // 65536
    people["devices"] = uniform(stream, count) * 3 // 65536 + 1
    people["pays_late"] = happens(stream, count, 0.2)
    return people


def _missing_groups(
    stream: np.random.PCG64, month: int, count: int, staying: Array
) -> tuple[Array, ...]:
    """The net service, contract and months active of newcomers, in random order.

    They are drawn at even distances, so that also a small panel has the usual mix.
    """
    mix = usual_mix().ravel()
    bands = len(_BANDS)
    starts = (np.arange(_CELLS[0] * _CELLS[1])[:, None] * _LONGEST + _BANDS).ravel()
    wanted = np.add.reduceat(mix, starts)
    band = np.searchsorted(_BANDS, months_active(staying, month), side="right") - 1
    groups = (staying["net"] * _CELLS[1] + staying["contract"]).astype(np.int64) * bands + band
    present = np.bincount(groups, minlength=wanted.size) * int(mix.sum())
    lacking = np.cumsum(np.maximum(wanted * (len(staying) + count) - present, 0))
    order = np.argsort(stream.random_raw(count), kind="stable")
    steps = (order + uniform(stream, 1)[0] / 65536) * (float(lacking[-1]) / max(count, 1))
    drawn = np.searchsorted(lacking, steps.astype(np.int64), side="right")
    ends = np.cumsum(mix)
    within = uniform(stream, count) * wanted[drawn] >> 16
    cells = np.searchsorted(ends, ends[starts[drawn]] - mix[starts[drawn]] + within, side="right")
    return np.unravel_index(cells, _CELLS)


def _first_fee(stream: np.random.PCG64, people: Array, tenure: Array) -> Array:
    """Cents: the line, each plan, and extras, of which long-time subscribers have more."""
    count = len(people)
    line = np.array([3_300, 6_800, 1_925])[people["net"]]
    tier = np.array([1_000, 500, 200])[people["net"]] * (uniform(stream, count) * 3 // 65536)
    extras = np.zeros(count, dtype=np.int64)
    for _ in range(4):
        extras += happens(stream, count, 0.2 + 0.005 * np.minimum(tenure, 72))
    extras *= np.array([500, 500, 50])[people["net"]]
    plans = (people["stream_tv"].astype(np.int64) + people["stream_movies"]) * 1_000
    odd = 5 * (uniform(stream, count) * 31 // 65536 - 15)
    fee: Array = line + tier + extras + plans + odd
    return fee


def price(people: Array, shift: float) -> Array:
    """The monthly fee in cents; `shift` 1 raises the mean by one standard deviation."""
    fees: Array = people["fee"].astype(np.int64) * (1_000 + round(430 * shift)) // 5_000 * 5
    return fees


def age_by_a_month(seed: int, month: int, people: Array, shift: float) -> None:
    """Change `people` in place to `month`, from the month before: some fees, and total payments."""
    stream = random_stream(seed, 2, month)
    size = len(people)
    changes = happens(stream, size, 0.015)
    raised = np.where(happens(stream, size, 0.6), 500, -500)
    people["fee"] = np.maximum(people["fee"] + changes * raised, 1_825)
    people["paid"] += price(people, shift)


def observe(seed: int, month: int, people: Array, shift: float, turn: float) -> Array:
    """The usage of each of `people` in a month, and whether they churn; dtype OBSERVATION."""
    observed = np.zeros(len(people), dtype=OBSERVATION)
    skipping = np.stack([poisson(rate * (1 + 0.44 * shift), 60) for rate in (3.7, 5.0, 6.4)])
    rebuffering = np.stack([poisson(rate + 1.4 * shift, 40) for rate in (2.9, 2.0, 1.9)])
    failing = np.stack([poisson(rate, 3) for rate in (0.07, 0.52)])
    calling = poisson(0.3, 9)
    for part, start in enumerate(range(0, len(people), _PART)):
        rows, some = slice(start, start + _PART), people[start : start + _PART]
        stream, size = random_stream(seed, 3, month, part), len(some)
        month_watch = np.array([286_000, 337_000, 230_000])[some["net"]] + some["watch"]
        month_watch += np.rint(bell(stream, size) * 42_000 - 67_500 * shift).astype(np.int64)
        observed["watch"][rows] = np.clip(month_watch, 0, 7_000_000)
        session = some["session"] + np.rint(bell(stream, size) * 330 - 730 * shift)
        observed["session"][rows] = np.clip(session, 300, 60_000)
        redrawn = uniform(stream, size) * 3 // 65536 + 1
        devices = np.where(happens(stream, size, 0.15), redrawn, some["devices"])
        observed["devices"][rows] = devices + happens(stream, size, min(0.8 * shift, 1.0))
        observed["skips"][rows] = skipping[some["skipping"], uniform(stream, size)]
        observed["rebuffers"][rows] = rebuffering[some["net"], uniform(stream, size)]
        late = some["pays_late"].astype(np.int8)
        observed["failed_payments"][rows] = failing[late, uniform(stream, size)]
        observed["tickets"][rows] = calling[uniform(stream, size)]
        observed["resolution"][rows] = np.clip(100 + np.rint(bell(stream, size) * 39), 10, 250)
        fees, age = price(some, shift), months_active(some, month)
        chance = churn_chance(some, observed[rows], age, fees, shift, turn)
        observed["churns"][rows] = happens(stream, size, chance)
    return observed
