"""What Tidegate does, one verb a file. A use case neither logs nor counts: it returns or raises."""
