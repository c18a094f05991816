"""Stage 2: features -> translator -> LLM -> heads -> predictions and scores."""
