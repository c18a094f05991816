"""``vllm-store``: stores looked at, proven, filled from feature files."""
