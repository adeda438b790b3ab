"""Recipe keys, their values and checks; nothing heavy is imported."""
