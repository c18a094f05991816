"""Putting back what a store lost, as far as what is left says what it was."""
