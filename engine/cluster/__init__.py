"""The only place that talks to Kubernetes: one small protocol, spoken by the API server and by a simulated cluster.

May import ``engine.model`` and, alone in the project, the kubernetes client.
"""
