"""Stores and runs on a hub: pushed, pulled, read from the hub's own cache."""
