"""The backend kubernetes_job: pure parts, odd answers of an API server, and all of it on a real one."""
