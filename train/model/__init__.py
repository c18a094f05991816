"""Translator, LLM, queries and heads: batches -> outputs, and what of them is trained."""
