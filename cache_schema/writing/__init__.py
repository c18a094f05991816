"""What every backend's writer needs: checked rows, durable files, errors that say what to do."""
