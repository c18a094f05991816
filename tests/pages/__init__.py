"""Pages opened in a browser, as a reader opens them."""
