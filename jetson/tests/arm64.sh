#!/usr/bin/env bash
# Prove that a bundle imports, runs and agrees in a real arm64 Linux userland (emulated by qemu on
# other machines). It says nothing of speed. Ends in a verified result.json, or with exit code 2.
#
#   sudo jetson/tests/arm64.sh BUNDLE.tar.gz RESULT.json
#
# Needs root, and: apt-get install debootstrap qemu-user-static binfmt-support
# The system it builds stays in WORK (build/arm64-SUITE) and is used again.
#
#   SUITE=focal MIRROR=http://ports.ubuntu.com/ubuntu-ports    Python 3.8, as on JetPack 5
#   OPTIONS="--repeats 3"                                      more options of run.py
set -euo pipefail

SUITE=${SUITE:-bookworm}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
WORK=${WORK:-$(cd "$(dirname "$0")/../.." && pwd)/build/arm64-$SUITE}
PYTHON=${PYTHON:-python3}   # of this machine; its pip fetches the wheels
PACKAGES=python3,python3-numpy,libgomp1
OPTIONS=${OPTIONS:---warmup 1 --repeats 3 --duration 0 --idle 0}

fail() { echo "arm64.sh: error: $*" >&2; exit 2; }

[ $# -eq 2 ] || fail "usage: sudo $0 BUNDLE.tar.gz RESULT.json"
bundle=$1
result=$2
root=$WORK/root
[ -f "$bundle" ] || fail "$bundle does not exist; make it with: edgesr bundle RUN_DIR"
[ "$(id -u)" = 0 ] || fail "only root may chroot; run it with sudo"
command -v debootstrap >/dev/null || fail "debootstrap is missing; apt-get install debootstrap"

emulate() {
    [ "$(uname -m)" != aarch64 ] || return 0
    command -v qemu-aarch64-static >/dev/null ||
        fail "qemu is missing; apt-get install qemu-user-static binfmt-support"
    mountpoint -q /proc/sys/fs/binfmt_misc ||
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
}

make_system() {
    [ ! -f "$WORK/complete" ] || return 0
    rm -rf "$root"
    mkdir -p "$root"
    debootstrap --arch=arm64 --foreign --variant=minbase --include="$PACKAGES" \
        "$SUITE" "$root" "$MIRROR"
    [ "$(uname -m)" = aarch64 ] || cp "$(command -v qemu-aarch64-static)" "$root/usr/bin/"
    chroot "$root" /debootstrap/debootstrap --second-stage
    touch "$WORK/complete"
}

# The newest onnxruntime that has a wheel for the system's Python, unpacked beside its numpy.
# Ubuntu 20.04's numpy is too old for it, so that system gets a numpy wheel, too.
add_onnxruntime() {
    local version names=(onnxruntime)
    version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    [ "$version" != 3.8 ] || names+=(numpy)
    [ ! -d "$root/proof/site/onnxruntime" ] || return 0
    rm -rf "$WORK/wheels"
    mkdir -p "$WORK/wheels" "$root/proof/site"
    "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --dest "$WORK/wheels" \
        --implementation cp --python-version "$version" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 "${names[@]}"
    for wheel in "$WORK"/wheels/*.whl; do
        "$PYTHON" -m zipfile -e "$wheel" "$root/proof/site"
    done
}

run_bundle() {
    rm -rf "$root/proof/bundle" "$root/proof/result.json"
    tar -xzf "$bundle" -C "$root/proof"
    cat >"$root/proof/run.sh" <<EOF
cd "\$(dirname "\$0")/bundle"
PYTHONPATH=\$(dirname "\$PWD")/site exec python3 run.py --output ../result.json \
    --runtime onnxruntime --threads 1 $OPTIONS
EOF
    mount -t proc proc "$root/proc"
    trap 'umount "$root/proc"' EXIT
    local code=0
    chroot "$root" /bin/sh /proof/run.sh || code=$?
    umount "$root/proc"
    trap - EXIT
    [ -f "$root/proof/result.json" ] || fail "the bundle wrote no result.json (exit code $code)"
    cp "$root/proof/result.json" "$result"
    [ "$code" = 0 ] || fail "the bundle failed with exit code $code; see $result"
}

check_result() {
    "$PYTHON" - "$result" <<'EOF'
import json, sys

result = json.load(open(sys.argv[1]))
board, models = result["board"], result["models"]
good = (
    result["ok"] and models and board["machine"] == "aarch64"
    and all(model["status"] == "verified" for model in models)
)
for model in models:
    print(model["name"], model["status"], model["verification"]["max_abs_difference"])
print(board["machine"], board["system"], "Python", board["python"],
      result["runtime"]["name"], result["runtime"]["version"])
sys.exit(0 if good else "arm64.sh: error: the result is not a verified one of aarch64")
EOF
}

emulate
make_system
add_onnxruntime
run_bundle
check_result || exit 2
echo "verified: $result"
