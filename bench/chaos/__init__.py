"""Random kill -9s under load: is every charge in the ledger once, to the nano-dollar?"""
