"""What a fleet for many logins a second looks like, reckoned from what one node was measured to cost."""
