"""Streams that are made of others while they are read: several joined, or their motion."""
