"""What stands before the nodes: the text of a load balancer's configuration, for HAProxy or nginx (ADR 0020)."""
