from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from streamflow.api import key_problems
from streamflow.errors import DatabaseUnavailable
from streamflow.keys import access, errors
from streamflow.keys.access import Access
from streamflow.keys.api_keys import ApiKey, Scope, hash_key, new_key
from streamflow.keys.audit import Audit, RejectedRequest

NOW = datetime(2024, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DRAWN = b"0123456789abcdef0123456789abcdef"  # by another tool, without our prefix
PREDICT, READ, PROMOTE = Scope.PREDICT, Scope.READ, Scope.PROMOTE


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def key(secret, *scopes, key_id=1, **facts):
    return ApiKey(
        key_id, hash_key(secret.encode()), "", frozenset(scopes or {PREDICT}), NOW, "ann", **facts
    )


def entrance(*keys, loopback=False, rate=1000.0, clock=None, host_names=()):
    made = Access(
        open_without_keys=loopback,
        requests_per_second=rate,
        now=lambda: NOW,
        monotonic=clock or Clock(),
        host_names=host_names,
    )
    made.replace_keys(keys)
    return made


def test_a_key_is_random_and_says_whose_it_is():
    one, other = new_key(), new_key()
    assert one != other
    assert one.startswith("streamflow_")
    assert len(one) == len("streamflow_") + 43  # 256 bits in base64


@pytest.mark.parametrize("header", [b"Bearer one", b"bearer one", b"BEARER  one "])
def test_a_key_is_let_in_by_its_header(header):
    assert entrance(key("one", key_id=7)).authorize(PREDICT, header) == 7


@pytest.mark.parametrize(
    "header", [None, b"", b"Bearer", b"one", b"Basic one", b"Basic b25lOm9uZQ=="]
)
def test_without_a_key_nobody_is_let_in(header):
    with pytest.raises((errors.KeyMissing, errors.KeyUnknown)):
        entrance(key("one")).authorize(PREDICT, header)


def test_a_key_that_was_never_made_is_unknown():
    for header in (b"Bearer on", b"Bearer one1", b"Bearer " + hash_key(b"one"), b"Bearer \xff"):
        with pytest.raises(errors.KeyUnknown):
            entrance(key("one")).authorize(PREDICT, header)


def test_a_key_is_over_from_the_moment_it_expires():
    entrance(key("one", expires_at=NOW + SECOND)).authorize(PREDICT, b"Bearer one")
    with pytest.raises(errors.KeyExpired):
        entrance(key("one", expires_at=NOW)).authorize(PREDICT, b"Bearer one")


def test_a_key_that_is_revoked_is_told_so():
    with pytest.raises(errors.KeyRevoked, match="Key 1 was revoked"):
        entrance(key("one", revoked_at=NOW)).authorize(PREDICT, b"Bearer one")


def test_a_key_opens_its_own_scopes_alone():
    keys = entrance(key("one", PREDICT, key_id=1), key("two", READ, PROMOTE, key_id=2))
    keys.authorize(PREDICT, b"Bearer one")
    keys.authorize(READ, b"Bearer two")
    keys.authorize(PROMOTE, b"Bearer two")
    for scope, header in ((READ, b"Bearer one"), (PREDICT, b"Bearer two")):
        with pytest.raises(errors.ScopeMissing) as refused:
            keys.authorize(scope, header)
        assert refused.value.needed == scope


def test_on_loopback_everybody_may_predict_and_read_until_the_first_key_is_made():
    keys = entrance(loopback=True)
    assert keys.authorize(PREDICT, None) is None
    assert keys.authorize(READ, None) is None
    with pytest.raises(errors.KeyMissing):
        keys.authorize(PROMOTE, None)
    keys.replace_keys(
        [key("one", revoked_at=NOW)]
    )  # the last key's end doesn't open the door again
    with pytest.raises(errors.KeyMissing):
        keys.authorize(PREDICT, None)


@pytest.mark.parametrize(
    "host",
    [
        *(
            b"localhost",
            b"LocalHost:8000",
            b"localhost.",
            b"127.0.0.1:8000",
            b"127.9.9.9",
            b"[::1]",
        ),
        *(b"[::1]:8000", b"churn.example", b"Other.Example:80", b""),
    ],
)
def test_without_keys_this_machines_own_names_are_answered(host):
    keys = entrance(loopback=True, host_names=["churn.example", " other.example ", ""])
    for scope in (PREDICT, READ):
        assert keys.authorize(scope, None, host=host) is None


@pytest.mark.parametrize(
    "host",
    [
        *(b"rebound.example", b"rebound.example:8000", b"127.0.0.1.example", b"localhost.example"),
        *(b"192.0.2.7", b"[2001:db8::1]:80", b"example@localhost", b"localhost:80:80", b"[", b"]"),
        *(b" ", b":80", b"\xff\xfe", b"[localhost"),
    ],
)
def test_without_keys_a_page_in_a_browser_gets_nothing_by_letting_its_name_resolve_to_here(host):
    keys = entrance(loopback=True, host_names=["churn.example", ""])
    for scope in (PREDICT, READ):
        for _ in range(2):
            with pytest.raises(errors.HostUnknown, match="STREAMFLOW_API_HOST_NAMES"):
                keys.authorize(scope, None, host=host)
    assert keys.authorize(None, None, host=host) is None


def test_with_a_key_any_host_is_answered():
    keys = entrance(key("one"), loopback=True)
    assert keys.authorize(PREDICT, b"Bearer one", host=b"rebound.example") == 1


def test_elsewhere_no_keys_means_nobody():
    with pytest.raises(errors.KeyMissing):
        entrance().authorize(PREDICT, None)


@pytest.mark.parametrize("loopback", [True, False])
def test_before_keys_were_read_nobody_is_let_in(loopback):
    made = Access(open_without_keys=loopback, requests_per_second=1.0, now=lambda: NOW)
    assert made.authorize(None, None) is None
    with pytest.raises(DatabaseUnavailable):
        made.authorize(PREDICT, b"Bearer one")


@pytest.mark.parametrize(
    "query",
    [
        b"key=one",
        b"a=b&Token=",
        b"API_KEY=anything",
        b"access_token=",
        b"a=b&whatever=" + DRAWN,
        DRAWN,
        b"x=" + DRAWN.replace(b"5", b"%35"),
        b"x=streamflow_guessed",
        b"x=streamflow%5Fguessed",
    ],
)
def test_a_key_in_an_address_is_refused_whatever_the_header_says(query):
    for scope in (PREDICT, None):
        with pytest.raises(errors.KeyInQuery):
            entrance(key("one"), key(DRAWN.decode())).authorize(scope, b"Bearer one", query)


@pytest.mark.parametrize("query", [b"page=2", b"monkey=1", b"x=" + b"y" * 100, b"&" * 60_000])
def test_other_things_in_an_address_are_nobodys_key(query):
    assert entrance(key("one", key_id=7)).authorize(PREDICT, b"Bearer one", query) == 7


def test_a_known_key_in_an_address_is_named():
    with pytest.raises(errors.KeyInQuery) as refused:
        entrance(key(DRAWN.decode(), key_id=7)).authorize(PREDICT, None, b"x=" + DRAWN)
    assert refused.value.key_id == 7


def test_a_key_has_its_allowance_and_gets_it_again_with_time():
    clock = Clock()
    keys = entrance(key("one", key_id=1), key("two", key_id=2), rate=2.0, clock=clock)
    for _ in range(2):
        keys.authorize(PREDICT, b"Bearer one")
    with pytest.raises(errors.RateLimited) as refused:
        keys.authorize(PREDICT, b"Bearer one")
    assert refused.value.wait_seconds == 0.5
    assert key_problems.headers(refused.value) == {"Retry-After": "1"}
    keys.authorize(PREDICT, b"Bearer two")
    keys.replace_keys(
        [key("one", key_id=1), key("two", key_id=2)]
    )  # every second: no new allowance
    with pytest.raises(errors.RateLimited):
        keys.authorize(PREDICT, b"Bearer one")
    clock.seconds = 0.5
    keys.authorize(PREDICT, b"Bearer one")
    with pytest.raises(errors.RateLimited):
        keys.authorize(PREDICT, b"Bearer one")
    clock.seconds = 100.0
    for _ in range(2):
        keys.authorize(PREDICT, b"Bearer one")
    with pytest.raises(errors.RateLimited):
        keys.authorize(PREDICT, b"Bearer one")


def test_less_than_a_request_a_second_is_a_rate_too():
    clock = Clock()
    keys = entrance(key("one"), rate=0.1, clock=clock)
    keys.authorize(PREDICT, b"Bearer one")
    with pytest.raises(errors.RateLimited) as refused:
        keys.authorize(PREDICT, b"Bearer one")
    assert key_problems.headers(refused.value) == {"Retry-After": "10"}
    clock.seconds = 10.0
    keys.authorize(PREDICT, b"Bearer one")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.168.0.10", False),
        ("localhost.example.org", False),
    ],
)
def test_loopback_is_told_from_what_others_reach(host, loopback):
    assert access.is_loopback(host) == loopback


def test_a_flood_of_attempts_is_two_lines_with_their_number():
    clock = Clock()
    audit = Audit(pause_seconds=60, monotonic=clock)
    request = RejectedRequest("key_unknown", "/predict", "POST", "10.0.0.1")
    entries = []
    for second in range(60):
        clock.seconds = float(second)
        for _ in range(17):
            audit.add(request, NOW + second * SECOND)
        entries += audit.due()
    clock.seconds = 60.0
    entries += audit.due()
    assert [entry.attempts for entry in entries] == [17, 59 * 17]
    assert entries[1].first_at == NOW + SECOND
    assert entries[1].last_at == NOW + 59 * SECOND


def test_attempts_that_differ_have_lines_of_their_own_up_to_a_bound():
    clock = Clock()
    audit = Audit(pause_seconds=60, most_kinds=3, monotonic=clock)
    for number in range(1000):
        audit.add(RejectedRequest("key_unknown", "/predict", "POST", f"10.0.{number}.1"), NOW)
        audit.add(RejectedRequest("key_missing", "/predict", "POST", f"10.0.{number}.1"), NOW)
    counted = {entry.request: entry.attempts for entry in audit.due()}
    assert sum(counted.values()) == 2000
    assert counted[RejectedRequest("key_unknown")] == 998
    assert counted[RejectedRequest("key_missing")] == 999
    assert len(counted) == 5
    for number in range(1000):
        audit.add(RejectedRequest("key_unknown", "/predict", "POST", f"10.1.{number}.1"), NOW)
    assert audit.due() == []
    (last,) = audit.due(everything=True)
    assert (last.request, last.attempts) == (RejectedRequest("key_unknown"), 1000)
