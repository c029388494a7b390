"""The Airflow side, from pure tables to a real Airflow."""
