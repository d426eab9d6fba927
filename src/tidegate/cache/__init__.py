"""What nodes share to be quick, in Valkey: it may vanish at any moment, and no answer becomes wrong by that."""
