"""The backend ``yarn``: against a stand-in with a ledger; ``tests/e2e/yarn`` runs it on the real ones."""
