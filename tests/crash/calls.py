"""All outbound calls that the controller is known to make: a new one without a case fails the suite."""

from __future__ import annotations

KNOWN = frozenset(
    {
        "DELETE durablejobs",
        "DELETE jobs",
        "GET /environment/",
        "GET /json/",
        "GET /v1/submissions/status/ID",
        "GET /version",
        "GET durablejobs",
        "GET jobbackends",
        "GET jobs",
        "GET leases",
        "GET namespaces",
        "GET secrets",
        "LIST clusterjobbackends",
        "LIST durablejobs",
        "LIST jobbackends",
        "LIST jobs",
        "LIST pods",
        "PATCH durablejobs",
        "PATCH jobbackends",
        "PATCH jobs",
        "POST /v1/submissions/create",
        "POST /v1/submissions/kill/ID",
        "POST events",
        "POST jobs",
        "POST leases",
        "POST secrets",
        "POST selfsubjectaccessreviews",
        "PUT durablejobs/status",
        "PUT jobbackends/status",
        "PUT leases",
    }
)
