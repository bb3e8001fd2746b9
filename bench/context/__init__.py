"""The context benchmark: what a shorter history keeps, and what it saves."""
