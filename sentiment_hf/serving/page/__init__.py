"""The demo page, to run locally or as a Space."""
