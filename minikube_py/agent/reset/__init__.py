"""`kpy reset`: every trace of a node goes from its machine, and nothing of anybody else."""
