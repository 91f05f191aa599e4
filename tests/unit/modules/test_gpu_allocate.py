# Copyright (c) ds01.infra contributors
# SPDX-License-Identifier: MIT
"""gpu_allocate: check, real and again, for claims and for reservations; refusals that change nothing."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.ds01.infra.plugins.modules import gpu_allocate
from ansible_collections.ds01.infra.tests.unit.modules.module_runs import Outcome, run_module
from tests.allocation_examples import ALL_BALANCED, inventory, mig_gpu, publish, uuid, whole_gpu

ME = pwd.getpwuid(os.geteuid()).pw_name
ID = "c0123456789ab"
GRANT = {"claim": ID, "user": ME, "container_id": "f" * 64, "container_name": "train", "request": "2g"}
EXAM = {
    "name": "exam",
    "devices": [uuid("GPU", 0)],
    "groups": ["all"],
    "start": "2026-12-01T08:00:00+00:00",
    "end": "2026-12-01T12:00:00Z",
}


@pytest.fixture
def host(tmp_path: Path) -> Path:
    publish(tmp_path, inventory(whole_gpu(0), mig_gpu(1, ALL_BALANCED)))
    (tmp_path / "policy.json").write_text(json.dumps({"version": 1, "default_group": "all", "groups": {"all": {}}}))
    return tmp_path


def converge(host: Path, *, check: bool = False, **options: Any) -> Outcome:
    places = {
        "policy": str(host / "policy.json"),
        "reservations_file": str(host / "reservations.json"),
        "run_directory": str(host),
        "cdi_directory": str(host / "cdi"),
        "use_slices": False,
    }
    return run_module(gpu_allocate, {**places, **options}, check=check)


def test_without_anything_asked_it_reports(host: Path) -> None:
    result = converge(host).result
    assert not result["changed"] and result["claims"] == [] and len(result["free"]) == 5 and result["reservations"] == []


def test_a_bare_host_is_no_failure(tmp_path: Path) -> None:
    for check in (True, False):
        assert converge(tmp_path, check=check).result["free"] == []
    assert converge(tmp_path, check=True, reservations=[EXAM]).changed


def test_check_real_again(host: Path) -> None:
    predicted = converge(host, check=True, claims=[GRANT])
    assert predicted.changed and not (host / "cdi").exists()
    real = converge(host, claims=[GRANT])
    assert set(real.result) == set(predicted.result)
    assert real.result["actions"] == predicted.result["actions"] == [f"grant {ID} to {ME}: 2g.10gb"]
    assert real.result["claims"][0]["devices"] == predicted.result["claims"][0]["devices"]
    assert (host / "cdi" / f"ds01-{ID}.json").exists()
    for again in (converge(host, claims=[GRANT]), converge(host, claims=[GRANT], check=True)):
        assert not again.changed and again.result["claims"] == real.result["claims"] and len(again.result["free"]) == 4


def test_ending_a_claim(host: Path) -> None:
    converge(host, claims=[GRANT])
    end = {"claim": ID, "state": "absent"}
    assert converge(host, claims=[end], check=True).changed and (host / "cdi" / f"ds01-{ID}.json").exists()
    assert converge(host, claims=[end]).result["actions"] == [f"end {ID} of {ME}: train"]
    assert not (host / "cdi" / f"ds01-{ID}.json").exists() and not converge(host, claims=[end]).changed


def test_reservations(host: Path) -> None:
    assert converge(host, reservations=[EXAM], check=True).changed and not (host / "reservations.json").exists()
    real = converge(host, reservations=[EXAM])
    assert real.result["reservations"][0]["end"] - real.result["reservations"][0]["start"] == 4 * 3600
    assert not converge(host, reservations=[EXAM]).changed and not converge(host).changed
    assert converge(host, reservations=[]).changed and converge(host).result["reservations"] == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"claims": [{**GRANT, "claim": "../x"}]}, "expected c and twelve"),
        ({"claims": [{**GRANT, "user": "no-such-person"}]}, "no-such-person"),
        ({"claims": [{**GRANT, "request": "lots"}]}, "'lots' is not understood"),
        ({"claims": [{**GRANT, "request": "9g"}]}, "this host has 0 such"),
        ({"claims": [{"claim": ID}]}, "user"),
        ({"reservations": [{**EXAM, "start": "tomorrow"}]}, "expected ISO 8601"),
        ({"reservations": [{**EXAM, "start": "2026-12-01T08:00:00"}]}, "no time zone"),
        ({"reservations": [{**EXAM, "end": "2026-12-01T07:00:00+00:00"}]}, "is not after"),
        ({"reservations": [{**EXAM, "groups": []}]}, "nobody could use it"),
        ({"reservations": [EXAM, EXAM]}, "listed twice"),
    ],
)
@pytest.mark.parametrize("check", [True, False])
def test_refusals_change_nothing(host: Path, options: dict[str, Any], says: str, check: bool) -> None:
    outcome = converge(host, check=check, **options)
    assert outcome.failed and says in outcome.result["msg"]
    assert not (host / "cdi").exists() and not (host / "reservations.json").exists()


def test_corrupt_files_are_reported(host: Path) -> None:
    converge(host, claims=[GRANT])
    path = host / "cdi" / f"ds01-{ID}.json"
    path.write_text(path.read_text()[:500])
    (corrupt,) = converge(host).result["corrupt"]
    assert corrupt["path"] == str(path) and corrupt["devices"]
