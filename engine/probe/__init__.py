"""Berth's own probe: measures round trips to a bounded number of neighbours, and keeps a network coordinate.

Imports the standard library and msgspec only, so that the process on every node stays small.
"""
