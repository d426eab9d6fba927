"""What the use cases need from outside, in the words of the domain. Each promise beside the method that makes it."""
