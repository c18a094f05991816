"""Trained runs on a hub, as model repositories."""
