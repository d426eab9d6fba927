"""What is true of users, credentials, sessions and tokens, whatever stores or carries them."""
