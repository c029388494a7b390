"""Spark on Kubernetes: a driver as one Pod, without spark-submit, in the DurableJob's own namespace.

Follow one submission: ``validation`` says whether the work may run here, ``manifest`` builds the Pod that is POSTed
inert (behind a scheduling gate, owned by the DurableJob) and the patch that takes exactly that Pod's gate away; the
driver makes its executors itself, in client mode; ``reading`` says what became of the Pod. ``kind`` ties them together
for ``kubernetes_objects.backend``, which carries out the verbs.

Seen with Spark 4.3 and 3.5: the driver needs no other object (no ConfigMap, no Service) as long as it tells its
executors its Pod's address; executors that wait for a node outlive a driver that was killed, until somebody deletes
them.
"""
