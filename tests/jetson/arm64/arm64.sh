#!/usr/bin/env bash
# Prove that a bundle imports, runs, agrees and refuses in a real arm64 Linux userland (emulated by
# qemu on other machines). Says nothing of speed. Ends in a verified result.json, or exit code 2.
#
#   sudo tests/jetson/arm64/arm64.sh BUNDLE.tar.gz RESULT.json
#   sudo BOARD_PYTHON=3.8 tests/jetson/arm64/arm64.sh BUNDLE.tar.gz RESULT.json
#
# Needs root, python3 with pip, and: apt-get install debootstrap qemu-user-static binfmt-support
# BOARD_PYTHON=3.11: Debian 12, its python3 and numpy (default)
# BOARD_PYTHON=3.8:  Debian 11 (glibc 2.31, as on JetPack 5) and CPython 3.8.10, compiled for it
#                    from the source of Ubuntu 20.04; needs make and gcc-aarch64-linux-gnu, too
# The system stays in WORK (build/arm64-pyVERSION) and is used again; remove it freely.
# OPTIONS="--repeats 3": other options of run.py    PYTHON=...: other python3 of this machine
set -euo pipefail

BOARD_PYTHON=${BOARD_PYTHON:-3.11}
MIRROR=${MIRROR:-http://deb.debian.org/debian}
HERE=$(cd "$(dirname "$0")" && pwd)
WORK=${WORK:-$HERE/../../build/arm64-py$BOARD_PYTHON}
PYTHON=${PYTHON:-python3}
OPTIONS=${OPTIONS:---warmup 1 --repeats 3 --duration 0 --idle 0}
SOURCE=http://archive.ubuntu.com/ubuntu/pool/main/p/python3.8/python3.8_3.8.10.orig.tar.xz
SOURCE_SHA256=6af24a66093dd840bcccf371d4044a3027e655cf24591ce26e48022bc79219d9

fail() { echo "arm64.sh: error: $*" >&2; exit 2; }
is_arm() { [ "$(uname -m)" = aarch64 ]; }

[ $# -eq 2 ] || fail "usage: sudo $0 BUNDLE.tar.gz RESULT.json"
bundle=$1
result=$2
[ -f "$bundle" ] || fail "$bundle does not exist; make it with: edgesr bundle RUN_DIR"
[ -d "$(dirname "$result")" ] || fail "$(dirname "$result") does not exist; create it"
[ "$(id -u)" = 0 ] || fail "only root may chroot; run it with sudo"
command -v debootstrap >/dev/null || fail "debootstrap is missing; apt-get install debootstrap"
"$PYTHON" -m pip --version >/dev/null 2>&1 || fail "$PYTHON has no pip; set PYTHON to one that has"
compiler=gcc
is_arm || compiler=aarch64-linux-gnu-gcc
case $BOARD_PYTHON in
    3.11)
        suite=bookworm packages=python3,python3-numpy,libgomp1
        python=python3 wheels=(onnxruntime) ;;
    3.8)
        suite=bullseye packages=libgomp1,libstdc++6,libc6-dev,zlib1g-dev,libffi-dev
        python=/opt/python/bin/python3.8 wheels=(onnxruntime numpy)
        for tool in "$compiler" make; do
            command -v "$tool" >/dev/null || fail "apt-get install make gcc-aarch64-linux-gnu"
        done ;;
    *) fail "BOARD_PYTHON is 3.8 or 3.11, got $BOARD_PYTHON" ;;
esac
mkdir -p "$WORK"
WORK=$(cd "$WORK" && pwd)
root=$WORK/root

emulate() {
    ! is_arm || return 0
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
    debootstrap --arch=arm64 --foreign --variant=minbase --include="$packages" \
        "$suite" "$root" "$MIRROR"
    is_arm || cp "$(command -v qemu-aarch64-static)" "$root/usr/bin/"
    chroot "$root" /debootstrap/debootstrap --second-stage
    touch "$WORK/complete"
}

# The compiler runs at full speed here, with headers and libraries of the system (the cross compiler
# would prefer its own, which are newer); what it makes runs under qemu.
compile_python() {
    [ "$BOARD_PYTHON" = 3.8 ] && [ ! -f "$WORK/compiled" ] || return 0
    "$PYTHON" -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' \
        "$SOURCE" "$WORK/python.tar.xz"
    echo "$SOURCE_SHA256  $WORK/python.tar.xz" | sha256sum --check --quiet ||
        fail "$SOURCE is not the file that is expected"
    rm -rf "$WORK/source"
    mkdir "$WORK/source"
    tar -xJf "$WORK/python.tar.xz" -C "$WORK/source" --strip-components=1
    (
        cd "$WORK/source"
        export QEMU_LD_PREFIX=$root
        headers=$root/usr/include libraries=$root/usr/lib/aarch64-linux-gnu
        find "$libraries" -maxdepth 1 -lname '/*' -printf '%p %l\n' |  # the linker is outside
            while read -r link target; do ln -sfr "$root$target" "$link"; done
        ./configure --quiet --prefix=/opt/python --without-ensurepip CFLAGS="-O1 -w" \
            CC="$compiler --sysroot=$root -nostdinc -B$libraries -L$libraries \
                -L$root/lib/aarch64-linux-gnu -isystem $("$compiler" -print-file-name=include) \
                -isystem $headers/aarch64-linux-gnu -isystem $headers"
        make --silent -j "$(nproc)"
        make --silent install DESTDIR="$root"
    ) >"$WORK/python.log" 2>&1 || fail "Python cannot be compiled; see $WORK/python.log"
    touch "$WORK/compiled"
}

# The newest wheels that the system's Python takes.
add_wheels() {
    [ ! -f "$WORK/unpacked" ] || return 0
    rm -rf "$WORK/wheels" "$root/proof/site"
    mkdir -p "$WORK/wheels" "$root/proof/site"
    "$PYTHON" -m pip download --quiet --no-deps --only-binary=:all: --dest "$WORK/wheels" \
        --implementation cp --python-version "$BOARD_PYTHON" \
        --platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 \
        --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 "${wheels[@]}"
    for wheel in "$WORK"/wheels/*.whl; do
        "$PYTHON" -m zipfile -e "$wheel" "$root/proof/site"
    done
    touch "$WORK/unpacked"
}

# What is proved stands in prove.py. The /sys of this machine would be mistaken for a board's, so the
# system gets none but the list of CPUs, without which onnxruntime 1.19 aborts when it is imported.
prove() {
    mkdir -p "$root/sys/devices/system/cpu"
    echo 0 | tee "$root/sys/devices/system/cpu/possible" >"$root/sys/devices/system/cpu/present"
    rm -rf "$root/proof/bundle" "$root/proof/result.json"
    tar -xzf "$bundle" -C "$root/proof"
    cp "$HERE/prove.py" "$root/proof/"
    mount -t proc proc "$root/proc"
    trap 'umount "$root/proc"' EXIT
    local code=0
    # shellcheck disable=SC2086
    chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin PYTHONPATH=/proof/site "$python" \
        /proof/prove.py /proof/bundle /proof/result.json \
        --runtime onnxruntime --threads 1 $OPTIONS || code=$?
    umount "$root/proc"
    trap - EXIT
    [ ! -f "$root/proof/result.json" ] || cp "$root/proof/result.json" "$result"
    [ "$code" = 0 ] || fail "not proved, exit code $code"
    grep -q '"machine": "aarch64"' "$result" || fail "$result is not one of aarch64"
}

emulate
make_system
compile_python
add_wheels
is_arm || echo "emulated: $(qemu-aarch64-static --version | head -1)"
echo "system: Debian $(cat "$root/etc/debian_version") $(chroot "$root" dpkg --print-architecture)"
prove
echo "verified: $result"
