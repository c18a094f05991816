"""What a run leaves behind: checkpoint, its record and card."""
