"""Which video lacks which stream: the store's commits, what others do, what failed before."""
