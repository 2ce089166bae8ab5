"""The control plane half: API server, scheduler, controllers, cloud controllers."""
