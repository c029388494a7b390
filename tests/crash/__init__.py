"""The crash suite: the controller dies at each of its outbound calls, and every job still ends right, started once.

``hook`` sits in the controller's process, at the one place that all its calls pass; ``zygote`` forks such processes in
a moment. Jobs run on ``systems``: a stand-in for Spark's Master with a ledger of what it accepted and started
(``master``), Kubernetes' own Job controller, and a real Spark cluster (``real``). ``stories`` says what happens
besides; ``matrix`` which crashes there are: all of them where a cell costs little, all pairs on the real Spark.
``run`` runs one cell and judges it; ``suite`` many; ``book`` keeps what is finished.
"""
