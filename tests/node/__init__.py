"""The stage with a real node: pods run. Where no node can run, all of it is skipped, with the reason.

With DURABLEJOB_REQUIRE_NODE=1 the reason is a failure: so CI notices if what it relies on is gone.
"""
