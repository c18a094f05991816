"""Pages to look at: one HTML file each, which needs no server and no network."""
