"""The one door into LiteLLM: who pays, what is let through, and the hooks that meter it."""
