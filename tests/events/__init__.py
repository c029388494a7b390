"""The event table: what happens to a task and its job, and what must come of it, on a real Airflow.

Follow one row: ``rows`` says what happens and what is required, ``plays`` does it to a ``run.Run`` of one ``side.Side``
(our operators, or Airflow's own), and ``suite`` plays many side by side and judges each by the ledger of the system
that runs the programs, never by Airflow's word.
"""
