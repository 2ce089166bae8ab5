"""The configuration file: what it may say, what comes of it, and what is said of mistakes."""

import textwrap

import pytest

from minikube_py.lib.errors import StartError
from minikube_py.server.scheduler.configuration import load
from minikube_py.server.scheduler.plugins import DEFAULT
from minikube_py.server.scheduler.plugins.node_name import NodeName
from minikube_py.server.scheduler.rehearsal import rehearsal
from tests.unit.server.scheduler.asking import reasons, scores
from tests.unit.server.scheduler.builders import cache, node, pod

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def nothing():
    return iter(())


def written(tmp_path, text):
    file = tmp_path / "scheduler.yaml"
    file.write_text(HEAD + textwrap.dedent(text))
    return str(file)


def built(tmp_path, text, found=nothing):
    made = load(written(tmp_path, text), found)
    return {profile.name: profile for profile in made.build(rehearsal())}


def names(plugins):
    return [plugin.name for plugin in plugins]


def test_without_a_file_there_is_one_profile_with_the_default_plugins():
    (profile,) = load("", nothing).build(rehearsal())
    assert profile.name == "default-scheduler"
    assert sorted(names(profile.plugins)) == sorted(name for name, _ in DEFAULT)
    weights = {plugin.name: weight for plugin, weight in profile.score}
    assert weights["TaintToleration"] == 3
    assert weights["NodeAffinity"] == weights["PodTopologySpread"] == 2
    assert weights["InterPodAffinity"] == 2
    assert weights["NodeResourcesFit"] == weights["ImageLocality"] == 1


def test_profiles_differ_in_their_plugins_and_weights(tmp_path):
    made = built(
        tmp_path,
        """
        percentageOfNodesToScore: 30
        profiles:
        - schedulerName: default-scheduler
        - schedulerName: packing
          percentageOfNodesToScore: 70
          plugins:
            multiPoint:
              disabled: [{name: ImageLocality}]
            score:
              disabled: [{name: InterPodAffinity}]
              enabled: [{name: NodeResourcesFit, weight: 7}]
            filter:
              disabled: [{name: NodePorts}]
        - schedulerName: bare
          plugins:
            preScore: {disabled: [{name: "*"}]}
            score: {disabled: [{name: "*"}]}
        """,
    )
    assert made["default-scheduler"].percentage == 30
    packing = made["packing"]
    assert packing.percentage == 70
    weights = [(plugin.name, weight) for plugin, weight in packing.score]
    assert weights[0] == ("NodeResourcesFit", 7)
    assert not {"ImageLocality", "InterPodAffinity"} & {name for name, _ in weights}
    assert "InterPodAffinity" in names(packing.filter)
    assert "NodePorts" not in names(packing.filter)
    assert made["bare"].score == ()


def test_back_off_and_extenders(tmp_path):
    made = load(
        written(
            tmp_path,
            """
            podInitialBackoffSeconds: 2
            podMaxBackoffSeconds: 5
            parallelism: 16
            leaderElection: {leaderElect: false}
            extenders:
            - urlPrefix: http://127.0.0.1:1/x
              filterVerb: filter
              prioritizeVerb: prioritize
              weight: 3
              httpTimeout: 100ms
              nodeCacheCapable: true
              ignorable: true
              managedResources:
              - {name: example.com/gpu, ignoredByScheduler: true}
            """,
        ),
        nothing,
    )
    assert [made.backoff.wait_seconds(n) for n in (1, 2, 3)] == [2, 4, 5]
    (extender,) = made.extenders
    assert (extender.weight, extender.timeout_seconds) == (3, 0.1)
    assert extender.node_cache_capable
    assert extender.ignorable
    (profile,) = made.build(rehearsal())
    fit = next(one for one in profile.filter if one.name == "NodeResourcesFit")
    there = cache(node("a"))
    assert reasons(fit, pod(requests={"example.com/gpu": "1"}), there)["a"] is None


ARGS = """
profiles:
- schedulerName: default-scheduler
  pluginConfig:
  - name: {name}
    args: {args}
"""


def plugin_with(tmp_path, name, args):
    made = built(tmp_path, ARGS.format(name=name, args=args))
    return next(one for one in made["default-scheduler"].plugins if one.name == name)


def test_nodes_may_be_packed_instead_of_spread(tmp_path):
    there = cache(node("a"), node("b"), pods=[pod("x", node="a", requests={"cpu": "2"})])
    packed = plugin_with(tmp_path, "NodeResourcesFit", "{scoringStrategy: {type: MostAllocated}}")
    found = scores(packed, pod(requests={"cpu": "1"}), there)
    assert found["a"] > found["b"]


def test_nodes_may_be_scored_by_a_shape_of_their_use(tmp_path):
    shape = (
        "[{utilization: 0, score: 0}, {utilization: 50, score: 10}, {utilization: 100, score: 0}]"
    )
    strategy = (
        "{scoringStrategy: {type: RequestedToCapacityRatio, resources: [{name: cpu, weight: 3}], "
        f"requestedToCapacityRatio: {{shape: {shape}}}}}}}"
    )
    plugin = plugin_with(tmp_path, "NodeResourcesFit", strategy)
    there = cache(
        node("empty"),
        node("half"),
        node("full"),
        pods=[
            pod("x", node="half", requests={"cpu": "1"}),
            pod("y", node="full", requests={"cpu": "2"}),
        ],
    )
    found = scores(plugin, pod(requests={"cpu": "1"}), there)
    assert found == {"empty": 50, "half": 100, "full": 50}


def test_extended_resources_count_where_they_are_asked_for(tmp_path):
    strategy = "{scoringStrategy: {type: MostAllocated, resources: [{name: example.com/gpu}]}}"
    plugin = plugin_with(tmp_path, "NodeResourcesFit", strategy)
    there = cache(node("a", **{"example.com/gpu": "4"}), node("b", **{"example.com/gpu": "2"}))
    assert scores(plugin, pod(requests={"example.com/gpu": "1"}), there) == {"a": 25, "b": 50}
    assert scores(plugin, pod(requests={"cpu": "1"}), there) == {"a": 0, "b": 0}


def test_more_affinity_may_be_enforced_on_all_pods_of_a_profile(tmp_path):
    terms = "[{matchExpressions: [{key: pool, operator: In, values: [x]}]}]"
    args = (
        "{addedAffinity: {requiredDuringSchedulingIgnoredDuringExecution: "
        f"{{nodeSelectorTerms: {terms}}}}}}}"
    )
    plugin = plugin_with(tmp_path, "NodeAffinity", args)
    there = cache(node("a", labels={"pool": "x"}), node("b"))
    assert reasons(plugin, pod(), there) == {
        "a": None,
        "b": ("node(s) didn't match scheduler-enforced node affinity",),
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("percentageOfNodesToScore: 101", "percentageOfNodesToScore: Invalid value: 101: not in"),
        ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: Invalid value: 0: must be"),
        ("podInitialBackoffSeconds: 9\npodMaxBackoffSeconds: 3", "podMaxBackoffSeconds: Invalid"),
        ("profile: []", "profile: Forbidden: unknown field"),
        (
            "profiles: [{schedulerName: a}, {schedulerName: a}]",
            'schedulerName: Duplicate value: "a"',
        ),
        ("profiles: [{schedulerName: a}, {}]", "profiles[1].schedulerName: Required value"),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: Nope}]}}}]",
            "plugin 'Nope' does not exist",
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: ImageLocality}]}}}]",
            "plugin 'ImageLocality' does not extend filter plugin",
        ),
        ("profiles: [{plugins: {filters: {}}}]", "plugins.filters: Forbidden: unknown field"),
        (
            "profiles: [{plugins: {bind: {disabled: [{name: '*'}]}}}]",
            "at least one bind plugin is needed",
        ),
        (
            "profiles: [{plugins: {queueSort: {disabled: [{name: '*'}]}}}]",
            "one queue sort plugin required",
        ),
        (
            "profiles: [{schedulerName: a}, {schedulerName: b, plugins: {queueSort: {x: []}}}]",
            "must be the same for all profiles",
        ),
        (ARGS.format(name="Nope", args="{}"), "pluginConfig for unknown plugin 'Nope'"),
        (
            ARGS.format(name="InterPodAffinity", args="{hardPodAffinityWeight: 101}"),
            "hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]",
        ),
        (
            ARGS.format(name="NodeResourcesFit", args="{scoringStrategy: {type: Best}}"),
            'scoringStrategy.type: Unsupported value: "Best"',
        ),
        (
            ARGS.format(name="DefaultPreemption", args="{minCandidateNodesPercentage: 101}"),
            "minCandidateNodesPercentage: Invalid value: 101",
        ),
        (
            "extenders: [{urlPrefix: http://x, prioritizeVerb: p}]",
            "extenders[0].weight: Invalid value: 0: must have a positive weight",
        ),
        (
            "extenders: [{urlPrefix: http://x, bindVerb: b}, {urlPrefix: http://y, bindVerb: b}]",
            "only one extender can implement bind",
        ),
        ("extenders: [{urlPrefix: http://x, httpTimeout: soon}]", "extenders: "),
        (
            "extenders: [{urlPrefix: https://x, tlsConfig: {caFile: /does/not/exist}}]",
            "No such file",
        ),
    ],
)
def test_mistakes_are_told(tmp_path, text, said):
    with pytest.raises(StartError) as raised:
        load(written(tmp_path, text), nothing)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is not valid YAML"),
        ("[]", "is not an object"),
        ("apiVersion: v1\nkind: Pod", "is v1 Pod, not kubescheduler.config.k8s.io/v1"),
    ],
)
def test_what_is_no_configuration_is_refused(tmp_path, text, said):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(StartError, match=said.replace("[", r"\[")):
        load(str(file), nothing)
    with pytest.raises(StartError, match="cannot read"):
        load(str(tmp_path / "none.yaml"), nothing)


class Coin(NodeName):
    """A plugin of somebody else."""

    name = "Coin"

    def __init__(self, handle, args):
        self.side = args.get("side", "heads")
        if self.side not in ("heads", "tails"):
            raise ValueError(f"side: Invalid value: {self.side}")


def test_plugins_and_profiles_of_packages_are_there(tmp_path):
    def found():
        yield "Coin", Coin
        plugins = {"multiPoint": {"enabled": [{"name": "Coin"}]}}
        config = [{"name": "Coin", "args": {"side": "tails"}}]
        yield "gambling", {"schedulerName": "gambler", "plugins": plugins, "pluginConfig": config}

    made = {one.name: one for one in load("", found).build(rehearsal())}
    assert "Coin" not in names(made["default-scheduler"].plugins)
    coin = next(one for one in made["gambler"].filter if one.name == "Coin")
    assert coin.side == "tails"
    text = "profiles: [{schedulerName: gambler}, {schedulerName: default-scheduler}]"
    again = built(tmp_path, text, found)
    assert "Coin" not in names(again["gambler"].plugins)


def test_an_installed_distribution_brings_a_plugin(tmp_path, monkeypatch):
    package = tmp_path / "sample_plugin.py"
    package.write_text(
        textwrap.dedent(
            """
            class Sample:
                name = "Sample"

                def filter(self, cycle):
                    return None


            def make(handle, args):
                return Sample()


            PROFILE = {
                "schedulerName": "sample-scheduler",
                "plugins": {"multiPoint": {"enabled": [{"name": "Sample"}]}},
            }
            """
        )
    )
    distribution = tmp_path / "sample-1.0.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: sample\nVersion: 1.0\n")
    points = "Sample = sample_plugin:make\nsample = sample_plugin:PROFILE\n"
    (distribution / "entry_points.txt").write_text(f"[kpy.scheduler]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    made = {one.name: one for one in load().build(rehearsal())}
    assert "Sample" in names(made["sample-scheduler"].filter)
    (distribution / "entry_points.txt").write_text("[kpy.scheduler]\nSample = nowhere:make\n")
    with pytest.raises(StartError, match="cannot load scheduler plugin 'Sample'"):
        load()


def test_a_plugin_of_a_package_may_not_take_the_name_of_ours():
    with pytest.raises(StartError, match="has the name of one of ours"):
        load("", lambda: iter([("NodeName", Coin)]))
