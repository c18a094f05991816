"""Repositories of a hub: addressed, listed, fetched and filled, their files held to checksums."""
