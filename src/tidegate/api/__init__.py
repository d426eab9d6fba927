"""HTTP in and out: what comes over the wire becomes the words of the domain, and what a use case says becomes an answer."""
