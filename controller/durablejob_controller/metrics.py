"""What can be scraped: the names people know from controller-runtime, and ours."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry(auto_describe=True)

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_JOB = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400)

QUEUE_DEPTH = Gauge("workqueue_depth", "Jobs that wait for a reconciliation", registry=REGISTRY)
QUEUE_SECONDS = Histogram(
    "workqueue_queue_duration_seconds", "How long a job waited in the queue", buckets=_FAST, registry=REGISTRY
)
RECONCILES = Counter("reconcile", "Reconciliations", registry=REGISTRY)
RECONCILE_ERRORS = Counter(
    "reconcile_errors", "Reconciliations that failed, by kind of error", ["error"], registry=REGISTRY
)
RECONCILE_SECONDS = Histogram(
    "reconcile_duration_seconds", "Duration of a reconciliation", buckets=_FAST, registry=REGISTRY
)
REST_REQUESTS = Counter("rest_client_requests", "Calls to the Kubernetes API", ["code", "method"], registry=REGISTRY)
REST_SECONDS = Histogram(
    "rest_client_request_duration_seconds", "Duration of calls to the Kubernetes API", ["verb"], buckets=_FAST,
    registry=REGISTRY,
)  # fmt: skip
MISSING_RIGHTS = Counter(
    "durablejob_missing_rights", "Calls to the Kubernetes API for which the account lacks the right", ["method"],
    registry=REGISTRY,
)  # fmt: skip
WATCH_ENDS = Counter("durablejob_watch_ends", "Watches that ended, and were begun anew", registry=REGISTRY)
BACKEND_SECONDS = Histogram(
    "durablejob_backend_request_duration_seconds", "Duration of calls to external systems", ["backend", "verb"],
    buckets=_FAST, registry=REGISTRY,
)  # fmt: skip
SUBMISSIONS = Counter("durablejob_submissions", "Submissions by outcome", ["backend", "outcome"], registry=REGISTRY)
GATE_ANSWERS = Counter("durablejob_gate_answers", "Answers of the start gate", ["verb", "answer"], registry=REGISTRY)
STATUS_WRITES = Counter("durablejob_status_writes", "Status writes by result", ["result"], registry=REGISTRY)
PARKED = Gauge("durablejob_parked", "Jobs whose status write the API server refused", registry=REGISTRY)
STRAYS = Gauge(
    "durablejob_strays", "Things that run in an external system for DurableJobs that are no more",
    ["kind", "namespace", "backend"], registry=REGISTRY,
)  # fmt: skip
JOB_SECONDS = Histogram(
    "durablejob_job_duration_seconds", "From first submission to end", ["backend", "outcome"], buckets=_JOB,
    registry=REGISTRY,
)  # fmt: skip
JOBS = Gauge("durablejob_state", "Jobs by state", ["state"], registry=REGISTRY)
LEADER = Gauge("durablejob_leader", "1 while this process decides", registry=REGISTRY)
ROLLBACKS = Counter("durablejob_rollbacks", "Restores of etcd that were noticed", registry=REGISTRY)
HELD = Gauge(
    "durablejob_held_backends", "Backends to which nothing is submitted since a restore of etcd", registry=REGISTRY
)
