"""The policy language: text in, checked policy out.

Pure: reads files and nothing else; imports nothing of ``engine``, no Kubernetes and no NumPy.
"""
