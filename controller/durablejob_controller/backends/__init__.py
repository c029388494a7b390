"""How to add a backend.

1. Write a module with a ``Backend`` (see ``contract``: its docstring is the law that the engine relies on) and a
   plugin object: ``type``, ``make(spec, surroundings)``, ``artifact(name, key, claim)``. ``fake`` is the shortest.
2. Say what the system reserves (``Traits.identity``): an inert object, an id, or nothing (then a start gate is needed).
   The rules that follow from it are already there: the engine knows no backend by name. ``kubernetes`` is an example
   of the first, ``fake`` and ``yarn`` of the second, ``spark_standalone`` of the third. Jobs that are objects of the
   controller's own cluster are reached by ``Surroundings.kubernetes``; ``kubernetes_objects`` has what all their kinds
   share.
3. Name the plugin as an entry point of the group ``durablejob.backends`` in your own wheel. Users reach it by
   ``spec.plugin.name`` of a JobBackend, their jobs by ``spec.plugin.parameters``.
4. Give it a ``Law`` in ``tests/backends/law.py`` (how to make it, how to misbehave, where its ledger is): the law test
   runs against every registered backend, and fails for one that has none.
"""
