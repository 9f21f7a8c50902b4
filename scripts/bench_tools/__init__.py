"""Measures the exporter beside its peers; see docs/BENCHMARKS.md.

What runs in a peer's own environment (``peers/``) imports the standard library at its top and
the peer's packages where it uses them: the list of peers is read without any of them.
"""
