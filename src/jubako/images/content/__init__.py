"""Blobs: the content store, what has come of a blob so far, and what registries call a layer."""
