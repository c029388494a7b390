"""Bad resources by the thousand: none may stop the controller or the good jobs, and each gets a verdict with a reason.

``generate`` makes them from the CRDs' own schemas, and around them; ``shapes`` knows what is odd; ``flood`` creates
them on a real API server, beside good jobs, and judges.
"""
