"""The linear layers that turn the LLM's states into a task's result, one file per kind of head."""
