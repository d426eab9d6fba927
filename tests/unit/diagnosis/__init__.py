"""What a diagnosis says of what it is shown."""
