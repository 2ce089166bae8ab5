"""etcd's v3 API over any backend: what `kpy etcd` serves."""
