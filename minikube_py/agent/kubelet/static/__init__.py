"""Static pods: those that a node runs because of a file or a URL, whatever the cluster says."""
