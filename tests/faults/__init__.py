"""The fault suite: what goes wrong around the controller, every program is started once and every job ends right.

``relay`` stands between the controller and a server that it asks, and does what a fault says; ``scene`` is a namespace
full of jobs with stories (those of the crash suite), its controllers and the judgement; ``watches``, ``leaders``,
``outages`` and ``answers`` are the faults 2 to 5 of the quality goals; ``suite`` plays scenes side by side.
"""
