"""Who asks: one file per method, and the chain that tries them in turn."""
