"""What many nodes cost and bear: the balancer, the replicas, and every part dying in turn. `python -m bench.many`."""
