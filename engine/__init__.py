"""The scheduler: everything between a checked policy and a pod bound to its node.

Each sub-package is one idea and says in its own docstring what it may import.
"""
