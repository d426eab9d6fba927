"""Makes whoever has failed too often wait, counted by each process for itself and by all nodes together."""
