"""NATS JetStream: carries jobs to workers and news to nodes. It may vanish at any moment; the truth is in PostgreSQL."""
