"""What happened to every video: the summary, and the ledger of failures."""
