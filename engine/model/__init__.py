"""Pods, nodes and quantities, decoded from raw JSON once, only the fields that are used.

Imports nothing of Berth: everything else stands on it.
"""
