"""The command line: one file a command. What is said and how it ends is for people; what is done is elsewhere."""
