"""What reaches people outside of an answer: handed over at least once, for no transaction reaches that far."""
