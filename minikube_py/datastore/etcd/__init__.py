"""etcd as the datastore: its v3 API spoken natively."""
