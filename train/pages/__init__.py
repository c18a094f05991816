"""Pages to look at: what a run, or several side by side, have learned and what it cost."""
