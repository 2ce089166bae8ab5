"""The questions that are asked of every node, one file each."""
