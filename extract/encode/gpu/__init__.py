"""What is done on a GPU alone: frames in, prepared with a CPU's bits, rows out."""
