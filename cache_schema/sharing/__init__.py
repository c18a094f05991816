"""Stores brought to a hub or a bucket and back, with a card that says what they are."""
