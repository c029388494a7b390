"""The API of durablejob: its three kinds as pydantic models.

The models are the only source: the CRDs beside this package are generated from them
(``python -m durablejob_api.crdgen``), the controller reads and writes through them, and the
Airflow operators build their specs with them. Nothing here imports kopf, httpx, kubernetes or
airflow.
"""

GROUP = "durablejob.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FINALIZER = f"{GROUP}/external-job"
"""On a DurableJob: something may exist outside that must end before the resource may go."""
CREATED_AT = f"{GROUP}/created-at"
"""Annotation: when the Airflow task made the DurableJob (RFC 3339). One that is much younger is a copy, made later."""
