"""Processors, memory and devices given to containers by where they lie in the machine."""
