"""Other tools on the same network and data: ``python -m benchmarks.peers``, ``make bench-peers``.

::

    ours                                a tool's environment            ours
    inputs: network, tiles, blocks  ->  child make: the tool's files ->  judge: size, drop
                                        child serve: one call each   <-  judge, time

One file of :mod:`benchmarks.peers.tools` is one tool; it registers its rows. What runs in a tool's
environment (:mod:`.peer`, :mod:`.inputs`, :mod:`.child` and the tool's file) needs Python's
standard library, numpy and what the tool itself needs.
"""
