"""The Helm chart: what it renders, what a real API server makes of it, and whether its rights are the right ones."""
