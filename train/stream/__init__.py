"""Live prediction: rows come one by one, each is answered as evaluation would answer it."""
