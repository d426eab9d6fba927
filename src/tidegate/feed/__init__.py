"""What other processes and nodes have changed: how it is told, how it is heard, and how one knows to have heard it all."""
