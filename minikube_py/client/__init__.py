"""How every part reaches a cluster: one Client protocol, informers, work queues, controllers."""
