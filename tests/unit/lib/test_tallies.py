"""What is counted shows on a page, once, with its labels."""

from minikube_py.lib.tallies import Metric, Tallies

DONE = Metric("things_done_total", "Things that were done", ("how",))
TOOK = Metric("thing_seconds", "How long they took", bounds=(1.0, 2.0))


def test_counts_and_histograms_are_shown_by_name_and_label() -> None:
    tallies = Tallies()
    tallies.count(DONE, "well")
    tallies.count(DONE, "badly", by=2)
    tallies.count(DONE, "never", by=0)
    tallies.observe(TOOK, 1.5)
    assert list(tallies.lines()) == [
        "# HELP things_done_total Things that were done",
        "# TYPE things_done_total counter",
        'things_done_total{how="badly"} 2',
        'things_done_total{how="well"} 1',
        "# HELP thing_seconds How long they took",
        "# TYPE thing_seconds histogram",
        'thing_seconds_bucket{le="1"} 0',
        'thing_seconds_bucket{le="2"} 1',
        'thing_seconds_bucket{le="+Inf"} 1',
        "thing_seconds_sum 1.5",
        "thing_seconds_count 1",
    ]
