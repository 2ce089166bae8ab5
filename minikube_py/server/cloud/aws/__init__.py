"""Amazon's cloud: EC2 instances, route tables, Network Load Balancers. Needs `kpy[aws]`."""
