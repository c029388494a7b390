"""Drivers as Pods: what is sent, what is refused, what their state means."""
