"""Pages about runs: what they say of videos, what they have learned and what that cost."""
