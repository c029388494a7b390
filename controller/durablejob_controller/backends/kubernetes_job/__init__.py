"""Kubernetes Jobs (batch/v1) in the DurableJob's own namespace, on the controller's own cluster.

Follow one submission: ``validation`` says whether the work may run here, ``manifest`` builds the Job that is
POSTed inert (suspended, owned by the DurableJob) and the patch that activates exactly that object, the Job
controller creates the pods, and ``reading`` says what became of them. ``kind`` ties them together for
``kubernetes_objects.backend``, which carries out the verbs.
"""
