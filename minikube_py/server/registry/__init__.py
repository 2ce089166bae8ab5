"""Objects over bytes: the watch cache, the generic store, and what needs I/O at write time."""
