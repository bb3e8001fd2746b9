"""The routing benchmark: how well a grader spends the strong tier, measured on public outcomes."""
