"""A node that runs short of memory, disk or process numbers ends pods before it dies."""
