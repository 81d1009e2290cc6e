"""Reading of ordinary manifest files: YAML or JSON in, checked objects out, all errors of all files in one go.

May import ``engine.model`` only.
"""
