"""Synthetic subscribers: who they are, how a month changes them, and who churns.

The same seed gives the same numbers on any machine: random bits are raw PCG64 output, whose stream
numpy guarantees (its distributions it doesn't), and everything after is integer arithmetic or
single additions, multiplications and roundings of float64, which IEEE 754 fixes to the last bit.
Tables that need `exp` are rounded to 1/65536 before they are used.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

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

SEEN = np.dtype(
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
_PART = 65_536  # rows observed at a time; part of what fixes the numbers

# Per 1,000 subscribers of a net service: their contracts; and the net services themselves.
_NET_SHARE = (344, 439, 217)
_CONTRACT_SHARE = ((505, 235, 260), (687, 174, 139), (343, 239, 418))

# Share by months active, piecewise linear, relative within a contract: (months, weight), ...
# They fall about as slowly as people leave, or the months would drift apart by themselves.
_TENURE = (
    ((0, 700), (1, 1000), (6, 620), (12, 400), (24, 230), (48, 110), (72, 45), (110, 8), (150, 0)),
    ((0, 20), (6, 150), (12, 350), (24, 480), (48, 460), (72, 280), (110, 70), (150, 0)),
    ((0, 5), (12, 150), (24, 320), (48, 480), (72, 460), (96, 310), (130, 110), (150, 0)),
)
_LONGEST = 150
_CELLS = (len(NET_SERVICES), len(CONTRACT_TYPES), _LONGEST)

# The panel is kept alike by (net service, contract, age band), each band from these months on.
_BANDS = np.array([0, 1, 3, 6, 12, 24, 48, 84])

_MOST_SHIFT = 5.0
_BELL_WIDTH = 37837.22701515  # standard deviation of the sum of four uniform 16-bit numbers


@dataclass(frozen=True)
class Month:
    """The panel in one month: `people` (dtype SUBSCRIBER) and what is `seen` of them (dtype SEEN).

    `shift` is how many standard deviations drift has moved the distributions so far.
    """

    number: int
    shift: float
    people: Array
    seen: Array


def panel(users: int, months: int, seed: int, drift: float) -> Iterator[Month]:
    """The months one after the other; the next one changes the arrays of the last in place."""
    people = newcomers(seed, 0, users, 0, np.zeros(0, dtype=SUBSCRIBER))
    seen = observe(seed, 0, people, 0.0)
    yield Month(0, 0.0, people, seen)
    ever = users
    for number in range(1, months):
        shift = min(drift * number / 12, _MOST_SHIFT)
        live_on(seed, number, people, shift)
        stays, leaving = people[~seen["churns"]], np.flatnonzero(seen["churns"])
        people[leaving] = newcomers(seed, number, len(leaving), ever, stays)
        ever += len(leaving)
        seen = observe(seed, number, people, shift)
        yield Month(number, shift, people, seen)


def bits(seed: int, *subject: int) -> np.random.PCG64:
    """A random stream of its own for each seed and subject (month, purpose, part)."""
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=subject))


def uniform(stream: np.random.PCG64, size: int) -> Array:
    """`size` integers of 0 to 65,535, int64, each as likely."""
    words = np.asarray(stream.random_raw((size + 3) // 4), dtype="<u8")
    return words.view("<u2")[:size].astype(np.int64)


def bell(stream: np.random.PCG64, size: int) -> Array:
    """`size` float64 of mean 0 and standard deviation 1, almost normal, never beyond 3.47."""
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
    return month - people["signup_month"].astype(np.int64)


def newcomers(seed: int, month: int, count: int, first_number: int, staying: Array) -> Array:
    """`count` subscribers who were not in the panel before, numbered from `first_number`.

    They are drawn from what `staying` lacks of the usual mix, so that months stay alike although
    everybody grows older and the young contracts churn most.
    """
    stream = bits(seed, 1, month)
    people = np.zeros(count, dtype=SUBSCRIBER)
    people["net"], people["contract"], tenure = _lacking(stream, month, count, staying)
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


def _lacking(stream: np.random.PCG64, month: int, count: int, staying: Array) -> tuple[Array, ...]:
    """The net service, contract and months active of newcomers, in random order.

    Drawn at even distances through what is lacking, so that a small panel is as alike as a big one.
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
    """Cents: the line, a price of each plan, and extras that long-time subscribers have more of."""
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


def live_on(seed: int, month: int, people: Array, shift: float) -> None:
    """Change `people` in place from the month before to `month`: some fees, and what was paid."""
    stream = bits(seed, 2, month)
    size = len(people)
    changes = happens(stream, size, 0.015)
    raised = np.where(happens(stream, size, 0.6), 500, -500)
    people["fee"] = np.maximum(people["fee"] + changes * raised, 1_825)
    people["paid"] += price(people, shift)


def observe(seed: int, month: int, people: Array, shift: float) -> Array:
    """What a month sees of each of `people`, and who of them churns; dtype SEEN."""
    seen = np.zeros(len(people), dtype=SEEN)
    skipping = np.stack([poisson(rate * (1 + 0.44 * shift), 60) for rate in (3.7, 5.0, 6.4)])
    rebuffering = np.stack([poisson(rate + 1.4 * shift, 40) for rate in (2.9, 2.0, 1.9)])
    failing = np.stack([poisson(rate, 3) for rate in (0.07, 0.52)])
    calling = poisson(0.3, 9)
    for part, start in enumerate(range(0, len(people), _PART)):
        rows, some = slice(start, start + _PART), people[start : start + _PART]
        stream, size = bits(seed, 3, month, part), len(some)
        month_watch = np.array([286_000, 337_000, 230_000])[some["net"]] + some["watch"]
        month_watch += np.rint(bell(stream, size) * 42_000 - 67_500 * shift).astype(np.int64)
        seen["watch"][rows] = np.clip(month_watch, 0, 7_000_000)
        session = some["session"] + np.rint(bell(stream, size) * 330 - 730 * shift)
        seen["session"][rows] = np.clip(session, 300, 60_000)
        redrawn = uniform(stream, size) * 3 // 65536 + 1
        devices = np.where(happens(stream, size, 0.15), redrawn, some["devices"])
        seen["devices"][rows] = devices + happens(stream, size, min(0.8 * shift, 1.0))
        seen["skips"][rows] = skipping[some["skipping"], uniform(stream, size)]
        seen["rebuffers"][rows] = rebuffering[some["net"], uniform(stream, size)]
        late = some["pays_late"].astype(np.int8)
        seen["failed_payments"][rows] = failing[late, uniform(stream, size)]
        seen["tickets"][rows] = calling[uniform(stream, size)]
        seen["resolution"][rows] = np.clip(100 + np.rint(bell(stream, size) * 39), 10, 250)
        chance = churn_chance(some, seen[rows], month, shift)
        seen["churns"][rows] = happens(stream, size, chance)
    return seen


def churn_chance(people: Array, seen: Array, month: int, shift: float) -> Array:
    """A logistic function of what the model sees, and of the contract, which it doesn't.

    With `shift`, fewer hours and a higher fee make more leave, as they always do; apart from that,
    everybody leaves more easily and loyalty protects less.
    """
    loyalty = 4.1 * 25 / (months_active(people, month) + 25.0)
    logit = loyalty * (1 - 0.3 * min(shift, 2.0)) + (-3.78 + 1.2 * shift)
    logit += np.array([0.0, 1.25, -0.75])[people["net"]]
    logit += np.array([0.0, -0.8, -1.5])[people["contract"]]
    logit += (price(people, shift) - 6_476) * (0.3 / 3_000)
    logit += (296_000 - seen["watch"]) * (0.5 / 67_500)
    logit += seen["failed_payments"] * 0.6 + seen["tickets"] * 0.4
    chances = [round(65536 / (1 + math.exp(-step / 64))) / 65536 for step in range(-1024, 1025)]
    steps = np.clip(np.rint(logit * 64), -1024, 1024).astype(np.int64)
    chance: Array = np.array(chances)[steps + 1024]
    return chance
