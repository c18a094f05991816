"""Pages about runs: what they say of videos, and how they were trained."""
