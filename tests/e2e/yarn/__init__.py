"""YARN end to end: real API server, controller process, ResourceManager, NodeManager and HDFS."""
