"""The rules once more, an object at a time: slow, obvious, and written apart from the engine that it checks."""
