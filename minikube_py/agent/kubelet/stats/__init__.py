"""What the node, its pods and their containers use, read from the kernel when somebody asks."""
