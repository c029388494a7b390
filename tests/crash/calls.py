"""All outbound calls that the controller is known to make: a new one without a case fails the suite."""

from __future__ import annotations

KNOWN = frozenset(
    {
        "DELETE durablejobs",
        "GET /environment/",
        "GET /json/",
        "GET /v1/submissions/status/ID",
        "GET durablejobs",
        "GET leases",
        "GET namespaces",
        "GET secrets",
        "LIST clusterjobbackends",
        "LIST durablejobs",
        "LIST jobbackends",
        "PATCH durablejobs",
        "PATCH jobbackends",
        "POST /v1/submissions/create",
        "POST /v1/submissions/kill/ID",
        "POST events",
        "POST leases",
        "POST secrets",
        "PUT durablejobs/status",
        "PUT jobbackends/status",
        "PUT leases",
    }
)
