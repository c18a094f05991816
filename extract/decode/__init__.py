"""Video file -> sampled frames, in a child process under a watchdog."""
