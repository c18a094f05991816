"""What a person needs to see of a store before training on it, measured, and as a page."""
