"""What can be seen of a running Tidegate from outside: every log field and every metric is declared here, once."""
