"""Failures that a person can do something about."""

from __future__ import annotations


class TestbedError(Exception):
    """An expected failure: its message says what is wrong and what to do, and is all a person needs.

    The command line prints it without a stack trace.
    """

    __test__ = False  # pytest would take the name for a test class
