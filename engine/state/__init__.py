"""What we know of the cluster: the cache of pods and nodes, and the snapshot, one NumPy column a fact.

May import ``engine.model``; knows neither clocks nor the cluster: whoever watches feeds it.
"""
