"""The load driver: one process that keeps many connections busy and costs little itself."""
