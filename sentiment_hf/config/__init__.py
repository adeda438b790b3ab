"""The keys of a recipe, their values and checks; nothing heavy is imported."""
