import os
import shlex
import signal
import time
import traceback

from bad_table import command_lines
from test_table import good  # noqa

from edgesr.cli.main import main


class Hang(BaseException): pass

def test_probe(good, workplace, plain_export, capfd):
    out = open("/tmp/faults_probe.txt", "w")
    def alarm(*a): raise Hang
    signal.signal(signal.SIGALRM, alarm)
    only = os.environ.get("ONLY")
    n = 0
    for line in command_lines():
        if only and only not in line: continue
        words = [w.format(**good) for w in shlex.split(line)]
        before = sorted(os.listdir(workplace))
        t = time.time()
        capfd.readouterr()
        signal.alarm(12)
        try:
            code = main(words)
        except SystemExit as s:
            code = s.code
        except Hang:
            code = "HANG " + traceback.format_exc()[-600:]
        except BaseException:
            code = "RAISED " + traceback.format_exc()[-900:]
        signal.alarm(0)
        took = time.time() - t
        w = capfd.readouterr()
        after = sorted(os.listdir(workplace))
        n += 1
        status = "ok"
        errs = [l for l in w.err.splitlines()]
        if code != 2: status = "CODE"
        elif len([l for l in errs if ": error: " in l]) != 1 or ": error: " not in errs[-1]: status = "LINES"
        elif len(errs) != 1: status = "progress"
        if w.out: status += "+out"
        if before != after: status += "+written"
        out.write(f"{status}\t{took:.2f}\t{line!r}\t{code if code != 2 else ''}\t{w.err[-600:] if status!='ok' else w.err[:300]!r}\t{set(after)-set(before)}\n")
        out.flush()
        for name in set(after) - set(before):
            import shutil
            p = workplace / name
            shutil.rmtree(p) if p.is_dir() else p.unlink()
    out.write(f"TOTAL {n}\n")
