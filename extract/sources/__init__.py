"""What the user typed -> video files, and one task's share of them."""
