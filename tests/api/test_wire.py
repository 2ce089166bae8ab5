"""The recorded exchanges of the reference API server, replayed against `kpy server`.

Every area has a floor: the steps and scenarios that are known to go as recorded. Fewer is a
regression; where more do, the test prints the new floor, which belongs into the table.
"""

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "wire"
KPY = Path(sys.executable).parent / "kpy"
START_SECONDS_MAX = 30.0
REQUEST_SECONDS_MAX = 10
REPLAY_SECONDS_MAX = 400
JOBS = 6
"""Scenarios at the same time: most of their time they wait."""
SHOWN_MAX = 12
"""Steps of an area below its floor that its failure shows."""
OWN = (
    re.compile(r"\d{1,2}s"),  # an age in a table's cell: how long the machine took
    re.compile(r"X509SHA256=[0-9a-f]{64}"),  # the hash of the recording's own client certificate
)
"""What belongs to a recording and not to the API: a difference in these alone is none."""


class Floor(NamedTuple):
    """How much of an area goes as recorded: body and status, and word for word."""

    semantic_steps: int
    verbatim_steps: int
    semantic_scenarios: int
    verbatim_scenarios: int


FLOORS: dict[str, Floor] = {
    "admission": Floor(214, 214, 25, 25),
    "crd": Floor(210, 209, 19, 18),
    "auth": Floor(190, 188, 12, 10),  # one text is not stable on the reference itself
    "crud": Floor(1073, 1073, 84, 84),
    "deletion": Floor(189, 189, 18, 18),
    "discovery": Floor(120, 119, 31, 31),
    "patch": Floor(257, 249, 25, 22),
    "protobuf": Floor(38, 37, 4, 4),
    "query": Floor(251, 250, 25, 24),
    "representations": Floor(499, 497, 37, 37),
    "subresources": Floor(185, 185, 16, 16),
    "validation": Floor(643, 642, 71, 70),
}
"""Without admissionpolicy, whose scenarios wait for machinery that is not there yet."""


def is_ready(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    url = f"https://127.0.0.1:{port}/readyz"
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Run the server that the corpus asks for; yields its URL and kubeconfig."""
    folder = tmp_path_factory.mktemp("wire")
    port, kubeconfig = free_port(), folder / "kubeconfig"
    line = [
        str(KPY),
        "server",
        "--disable-agent",
        "--disable-scheduler",
        "--disable-controller-manager",
        "--anonymous-auth",
        "--service-cidr=10.96.0.0/12",
        "--bind-address=127.0.0.1",
        "--advertise-address=192.0.2.10",
        f"--https-listen-port={port}",
        f"--data-dir={folder / 'data'}",
        f"--write-kubeconfig={kubeconfig}",
    ]
    log, url = folder / "log", f"https://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(line, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not is_ready(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield url, kubeconfig
    finally:
        process.terminate()
        process.wait(timeout=30)
        shutil.rmtree(folder / "data", ignore_errors=True)


class Reached(NamedTuple):
    """What a replay reached in an area, and the steps that went otherwise, with why."""

    floor: Floor
    differing: list[str]


@pytest.fixture(scope="session")
def areas(server: tuple[str, Path]) -> dict[str, Reached]:
    """Replay the corpus once; returns what each area reached."""
    url, kubeconfig = server
    assert (CORPUS / "replay.py").exists(), (
        f"the recorded exchanges are not at {CORPUS}: the test cannot tell whether the API server "
        "still answers as the reference does"
    )
    line = [
        sys.executable,
        str(CORPUS / "replay.py"),
        f"--kubeconfig={kubeconfig}",
        f"--server={url}",
        "--split=public",
        "--json",
        f"--jobs={JOBS}",
        f"--timeout={REQUEST_SECONDS_MAX}",
    ]
    for area in FLOORS:
        line += ["--area", area]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        line,
        check=True,
        capture_output=True,
        text=True,
        timeout=REPLAY_SECONDS_MAX,
        env=environment,
    )
    found = json.loads(done.stdout)
    return {area: reached(area, counts, found) for area, counts in found["areas"].items()}


def reached(area: str, counts: dict[str, int], found: dict[str, Any]) -> Reached:
    """Return what an area reached; a step that differs in what is `OWN` alone is as recorded."""
    names = ("ssem", "sverb", "sem", "verb")
    steps, verbatim, scenarios, verbatim_scenarios = (counts.get(name, 0) for name in names)
    differing = []
    for scenario in (s for s in found["scenarios"] if s["area"] == area):
        same = [step for step in scenario["failures"] if is_as_recorded(step)]
        steps += sum(step["level"] == "semantic" for step in same)
        verbatim += len(same)
        other = [step for step in scenario["failures"] if step not in same]
        scenarios += not scenario["semantic"] and all(s["level"] != "semantic" for s in other)
        verbatim_scenarios += bool(same) and not other
        differing += [described(scenario["id"], step) for step in other]
    return Reached(Floor(steps, verbatim, scenarios, verbatim_scenarios), differing)


def is_as_recorded(step: dict[str, Any]) -> bool:
    """Tell whether a step differs only in what belongs to the recording."""
    texts = [(str(d["expected"]), str(d["actual"])) for d in step["diffs"]]
    return all(
        any(own.fullmatch(then) and own.fullmatch(now) for own in OWN) for then, now in texts
    )


def described(name: str, step: dict[str, Any]) -> str:
    first = step["diffs"][0]
    then, now = (json.dumps(first[key])[:300] for key in ("expected", "actual"))
    return (
        f"{name} step {step['step']} ({step['level']}) {step['request']}: {first['path'] or '/'} "
        f"was recorded as {then}, is {now}"
    )


@pytest.mark.parametrize("area", FLOORS)
def test_an_area_goes_as_recorded_as_well_as_it_ever_did(
    area: str, areas: dict[str, Reached], capsys: pytest.CaptureFixture[str]
) -> None:
    (now, differing), floor = areas[area], FLOORS[area]
    shown = "\n".join(differing[:SHOWN_MAX])
    assert all(one >= then for one, then in zip(now, floor, strict=True)), (
        f"{area}: reached {now}, which is less than {floor}; what goes otherwise:\n{shown}"
    )
    if now != floor:
        with capsys.disabled():
            sys.stdout.write(f"\n{area} got better: {now}\n")
