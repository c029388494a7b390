"""``make bench``: figures, beside a peer or the floor in the same run. Never part of the tests."""
