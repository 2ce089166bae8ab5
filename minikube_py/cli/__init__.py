"""The `kpy` program: commands and configuration."""
