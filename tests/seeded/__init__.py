"""Seeded bugs: real code with one mistake each, and the tests that must notice it (``make seeded``)."""
