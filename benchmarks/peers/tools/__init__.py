"""One file a tool. At the top each imports nothing but what :mod:`benchmarks.peers` has."""
