"""From a module to a file that a runtime executes. Knows nothing of edgesr.

ONNX Runtime from 1.29 on keeps an id and notes of what it runs in the user's cache, and sends them
away. It looks at the one variable that stops this while it is imported, and no call helps later; so
the variable is set here, before any module of this folder can import it, for child processes too.
In the same way, the profiler of torch prints lines on stderr unless it is told before torch is
imported.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
