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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
CORPUS = ROOT.parent / "shared" / "wire"
KPY = Path(sys.executable).parent / "kpy"
START_SECONDS_MAX = 180.0
REQUEST_SECONDS_MAX = 60
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
    "admissionpolicy": Floor(104, 104, 15, 15),
    "crd": Floor(212, 212, 20, 20),
    "auth": Floor(195, 195, 15, 15),
    "crud": Floor(1089, 1089, 87, 87),
    "deletion": Floor(189, 189, 18, 18),
    "discovery": Floor(136, 136, 36, 36),
    "patch": Floor(258, 258, 26, 26),
    "protobuf": Floor(43, 43, 4, 4),
    "query": Floor(254, 253, 28, 27),
    "representations": Floor(511, 511, 42, 42),
    "subresources": Floor(190, 190, 17, 17),
    "validation": Floor(645, 645, 72, 72),
}
"""What is missing: rights that the reference gave the public (three steps in auth, one in
discovery), the length of a protobuf frame, and a text that depends on how long a revision is."""


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
    found = replay(url, kubeconfig, [*pairs("--area", FLOORS), f"--jobs={JOBS}"])
    scenarios = {scenario["id"]: scenario for scenario in found["scenarios"]}
    failed = [name for name, scenario in scenarios.items() if differing_steps(scenario)]
    if failed:  # scenarios see what is cluster-wide of each other: alone they may go as recorded
        again = replay(url, kubeconfig, [*pairs("--id", failed), "--jobs=1"])
        scenarios |= {scenario["id"]: scenario for scenario in again["scenarios"]}
    return {
        area: reached(counts, [s for s in scenarios.values() if s["area"] == area])
        for area, counts in found["areas"].items()
    }


def pairs(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


def replay(url: str, kubeconfig: Path, options: list[str]) -> dict[str, Any]:
    """Replay scenarios; returns what became of them."""
    line = [sys.executable, str(CORPUS / "replay.py"), "--split=public", "--json", *options]
    line += [f"--kubeconfig={kubeconfig}", f"--server={url}", f"--timeout={REQUEST_SECONDS_MAX}"]
    done = subprocess.run(
        line,
        check=True,
        capture_output=True,
        text=True,
        timeout=REPLAY_SECONDS_MAX,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def reached(counts: dict[str, int], scenarios: list[dict[str, Any]]) -> Reached:
    """Return what an area reached; a step that differs in what is `OWN` alone is as recorded."""
    found = [(scenario["id"], differing_steps(scenario)) for scenario in scenarios]
    semantic = [[step for step in steps if step["level"] == "semantic"] for _, steps in found]
    floor = Floor(
        semantic_steps=counts["steps"] - sum(map(len, semantic)),
        verbatim_steps=counts["steps"] - sum(len(steps) for _, steps in found),
        semantic_scenarios=sum(not steps for steps in semantic),
        verbatim_scenarios=sum(not steps for _, steps in found),
    )
    return Reached(floor, [described(name, step) for name, steps in found for step in steps])


def differing_steps(scenario: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for step in scenario["failures"] if not is_as_recorded(step)]


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
