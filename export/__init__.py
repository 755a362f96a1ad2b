"""From a module to a file that a runtime executes. Knows nothing of edgesr."""
