"""What proves that Tidegate does what it promises."""
