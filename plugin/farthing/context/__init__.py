"""Context economics: a history is shortened only where that pays, and what was left out can be had again."""
