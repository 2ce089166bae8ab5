"""A pod rather goes to nodes that have its images, the more the larger they are."""

from collections.abc import Sequence

from minikube_py.api.object import get
from minikube_py.server.scheduler.framework import SCORE_MAX, Cycle
from minikube_py.server.scheduler.node_info import NodeInfo

SMALL_BYTES = 23 * 1024 * 1024
LARGE_BYTES = 1000 * 1024 * 1024
"""Per container; below the first images count for nothing, above the second for all."""


class ImageLocality:
    """Sums up the sizes of the images that a node has."""

    name = "ImageLocality"
    absolute = True

    def score(self, cycle: Cycle, nodes: Sequence[NodeInfo]) -> Sequence[float] | None:
        """Return the sizes on a scale; an image on few nodes counts less, against crowding."""
        cache = cycle.cache
        if not cache.nodes_with_image:
            return None
        containers = get(cycle.pod.obj, "spec.containers", ())
        images = [normalized(container.get("image", "")) for container in containers]
        spread = {image: cache.nodes_with_image[image] / len(cache.nodes) for image in images}
        if not any(spread.values()):
            return None
        most = LARGE_BYTES * len(images)
        scores = []
        for node in nodes:
            size = sum(node.images.get(image, 0) * spread[image] for image in images)
            clipped = min(max(size, SMALL_BYTES), most)
            scores.append(SCORE_MAX * (clipped - SMALL_BYTES) / (most - SMALL_BYTES))
        return scores


def normalized(image: str) -> str:
    """Return the name with a tag, as nodes list it."""
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in last else f"{image}:latest"
