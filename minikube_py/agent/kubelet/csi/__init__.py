"""CSI on a node: drivers that register themselves, and the volumes that they stage and publish."""
