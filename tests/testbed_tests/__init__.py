"""Tests of the testbed itself: that it ends what it starts, and fails in words."""
