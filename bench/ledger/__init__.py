"""How fast the ledger takes charges in, and how fast it answers over many of them."""
