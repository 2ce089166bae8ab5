"""Objects and kinds: what a cluster's documents mean; pure, nothing here awaits."""
