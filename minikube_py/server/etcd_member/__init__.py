"""A member of etcd that a server runs: started, joined to others, watched over."""
