"""A server that speaks the Hub's protocol on loopback, for the real client to push to and load from."""
