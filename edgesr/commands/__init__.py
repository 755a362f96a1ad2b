"""The work of the commands, one file each; :mod:`edgesr.cli` fills in recipes and calls them."""
