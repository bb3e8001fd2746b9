"""What can be wrong with an audit as a whole."""


class AuditError(Exception):
    """Nothing can be audited; the text says what is wrong, where, and what to do."""
