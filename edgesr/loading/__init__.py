"""Any network into one that can be called as ``f(lr) -> sr``: signature, weights, factory."""
