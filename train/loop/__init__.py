"""The training loop: steps, processes, validation, logs."""
