"""The page that people try a model on, here and as a Space."""
