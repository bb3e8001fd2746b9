"""Hold and settle beside LiteLLM's own budget reservation: `python -m bench.credits`."""
