"""What backends share whose jobs are objects of the controller's own cluster.

Each kind of object (``kind.Kind``) says how its object looks and what its state means; ``backend`` carries out the
verbs for all of them: an inert object is made, its uid recorded, and that very object activated once. ``calls`` talks
to the API server, ``tails`` reads the ends of logs, ``probing`` says whether the account has the rights for it.
"""
