"""The backend spark_standalone: pure parts, the gate in a JVM, and all of it on a real cluster."""
