"""What a reset takes for its own, and what it leaves to others."""

import json

from minikube_py.agent.reset import traces


def test_only_mounts_below_the_data_folder_are_found(tmp_path):
    assert traces.mounts(tmp_path) == []
    assert all(point.startswith("/proc") for point in traces.mounts(tmp_path.__class__("/proc")))


def test_logs_are_told_by_the_pods_that_have_a_folder(tmp_path, monkeypatch):
    logs = tmp_path / "logs"
    data = tmp_path / "data"
    (data / "agent" / "kubelet" / "pods" / "uid-1").mkdir(parents=True)
    for name in ("default_a_uid-1", "default_b_uid-2"):
        (logs / name).mkdir(parents=True)
    monkeypatch.setattr(traces, "POD_LOGS", logs)
    assert traces.folders(data) == [str(logs / "default_a_uid-1"), str(data)]
    for path in traces.folders(data):
        traces.remove_folder(path)
    assert traces.folders(data) == []
    assert (logs / "default_b_uid-2").exists()


def test_networks_are_told_by_the_addresses_that_our_pool_gave(tmp_path, monkeypatch):
    results, data = tmp_path / "results", tmp_path / "data"
    pool = data / "agent" / "cni" / "state" / "kpy"
    for folder in (results, pool):
        folder.mkdir(parents=True)
    monkeypatch.setattr(traces, "CNI_RESULTS", results)
    there, gone = tmp_path / "ns-1", tmp_path / "ns-2"
    there.touch()
    for name, netns in (("one", there), ("two", gone), ("other", there)):
        record = {"containerId": name, "netns": str(netns)}
        (results / f"kpy-{name}-eth0").write_text(json.dumps(record))
    (results / "kpy-broken-eth0").write_text("{")
    for address, name in (("10.42.0.2", "one"), ("10.42.0.3", "two"), ("10.42.0.4", "broken")):
        (pool / address).write_text(f"{name}\r\neth0")
    assert traces.namespaces(data) == [str(there)]
    assert traces.records(data) == [f"{results}/kpy-{name}-eth0" for name in ("one", "two")]


def test_a_machine_without_kpy_has_no_traces_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(traces, "POD_LOGS", tmp_path / "none")
    nowhere = tmp_path / "nowhere"
    assert traces.folders(nowhere) == []
    assert traces.processes(nowhere) == []
    assert traces.bridges(nowhere) == []
