"""The explorer: every order of crashes, delays, repetitions and wishes, against the real ``decide``.

``checker`` searches all states of a small world and reports the shortest way to each violation, and the
states from which a healthy system could no longer finish. ``world`` holds what all worlds share: the
resource, its compare-and-swap, and controllers that run the real ``decide``, ``grant_start`` and
``note_ended``. One module per kind of identity says how the external system behaves.
"""
