"""Acts under way: begun once for each question, bounded, and found again with their end."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from streamflow.console.acts.act import ActFailed, Tell, TooMuchAtOnce
from streamflow.console.acts.jobs import MOST_UNDER_WAY, Job, Jobs

NOW = datetime(2024, 3, 5, tzinfo=UTC)


class Acts:
    """Acts that end when they are let."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.let = threading.Event()

    def run(self, name: str, arguments: Mapping[str, Any], tell: Tell) -> Mapping[str, Any]:
        tell({"progress": "begun"})
        tell({"gate": {"gate": "servable", "outcome": "passed"}})
        assert self.let.wait(60)
        self.done.append(name)
        if name == "refused":
            raise ActFailed(409, "gate_failed", "A gate failed.", "Look.")
        if name == "broken":
            raise ValueError("nobody expected it")
        return {"name": name}


def ended(job: Job) -> Job:
    for thread in threading.enumerate():
        if thread.name == f"console {job.act}":
            thread.join(60)
    assert job.over
    return job


def test_an_act_tells_how_far_it_is_and_how_it_ended() -> None:
    acts = Acts()
    jobs = Jobs(acts.run)
    job = jobs.begin("compare", {}, {}, NOW)
    assert jobs.find(job.job_id) is job
    assert not job.over
    acts.let.set()
    assert ended(job).result == {"name": "compare"}
    assert job.lines == ["begun"]
    assert [one["gate"] for one in job.gates] == ["servable"]
    assert jobs.find("another") is None


def test_an_error_is_kept_and_what_nobody_expected_isnt_told() -> None:
    acts = Acts()
    acts.let.set()
    jobs = Jobs(acts.run)
    refused = ended(jobs.begin("refused", {}, {}, NOW)).failed
    assert refused is not None
    assert (refused.status, refused.code) == (409, "gate_failed")
    broken = ended(jobs.begin("broken", {}, {}, NOW)).failed
    assert broken is not None
    assert broken.status == 500
    assert "expected" not in broken.message


def test_the_same_question_is_answered_once_and_a_failed_one_again_later() -> None:
    acts = Acts()
    acts.let.set()
    jobs = Jobs(acts.run)
    first = ended(jobs.asked("compare", {"first": 1}, {}, NOW))
    assert jobs.asked("compare", {"first": 1}, {}, NOW + timedelta(days=1)) is first
    assert jobs.asked("compare", {"first": 2}, {}, NOW) is not first
    failed = ended(jobs.asked("refused", {}, {}, NOW))
    assert jobs.asked("refused", {}, {}, NOW + timedelta(seconds=30)) is failed
    assert jobs.asked("refused", {}, {}, NOW + timedelta(minutes=2)) is not failed


def test_more_than_can_be_done_is_refused() -> None:
    acts = Acts()
    jobs = Jobs(acts.run)
    begun = [jobs.begin("compare", {}, {}, NOW) for _ in range(MOST_UNDER_WAY)]
    with pytest.raises(TooMuchAtOnce):
        jobs.begin("compare", {}, {}, NOW)
    acts.let.set()
    for job in begun:
        ended(job)
    assert jobs.begin("compare", {}, {}, NOW)
