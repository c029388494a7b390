"""The whole path on real systems: API server, controller process, Spark, Airflow."""
