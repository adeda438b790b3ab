"""Out to people: the HTTP API and the page."""
