"""Kubernetes' own filters and scores, a file for each family, all of one shape: columns in, mask or score out.

May import ``engine.model`` and ``engine.state``. Knows neither the cluster nor threads nor clocks.
"""
