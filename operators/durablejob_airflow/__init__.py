"""durablejob for Apache Airflow: operators whose external jobs are submitted once, whatever crashes.

Follow one task: an operator (``operators``) describes the work (``payload``); on entering ``execute`` the
pure function ``identity.decide`` says what this try is to the task's DurableJob (its first run, a
retry, a clear, a stale worker …) and ``holder.JobHolder`` does it through the hook (``hooks``,
``client``); then the task defers to the trigger (``triggers``), which listens to the one watch that
all triggers of a process share (``watch``), or polls in the worker. ``wishes`` tells a person's wish to
end a job from a mere loss of the process.
"""

from durablejob_airflow.compat import require_airflow

require_airflow()  # as Airflow's own providers do: here, before anything of Airflow is imported

__version__ = "0.1.0"

CONN_TYPE = "durablejob"
DEFAULT_CONN_ID = "durablejob_default"
