"""What knows nothing of Kubernetes: tasks, clock, back-off, certificates, logs, options."""
