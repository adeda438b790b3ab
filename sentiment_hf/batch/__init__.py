"""Tables of any size, predicted block by block and in parts."""
