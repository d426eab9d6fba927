"""A whole Tidegate on one machine to play with: which parts it has, how each is told of the others, broken, and watched."""
