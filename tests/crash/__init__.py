"""The crash suite: the controller dies at each of its outbound calls, and every job still ends right, started once.

``hook`` sits in the controller's process, at the one place that all its calls pass; ``zygote`` forks such
processes in a moment; ``master`` is a stand-in for Spark's Master with a ledger of what it accepted and
started; ``cell`` runs one crash and judges it; ``matrix`` says which there are.
"""
