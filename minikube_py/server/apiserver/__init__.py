"""HTTP over the registry: paths, verbs, representations, watches and streams."""
