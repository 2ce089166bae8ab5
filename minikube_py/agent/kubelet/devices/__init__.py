"""Device plugins: resources that plugins offer, and which container has which of their devices."""
