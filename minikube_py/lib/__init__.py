"""What knows nothing of Kubernetes: tasks, clock, back-off, keys and certificates, logs, options."""
