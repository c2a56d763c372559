# SPDX-License-Identifier: Apache-2.0
# Sourced first by scripts of tests/ROOM that run the command on models: the command, Python with ONNX to write models with
# (without it the test is skipped aloud), a folder and a kernel cache of the script's own, and how a failure is said.
set -u
yunjin=$BUILD/yunjin
python=/usr/bin/python3
"$python" -c 'import onnx' 2>/dev/null || { echo "skipped: no python3-onnx to write the models with"; exit 77; }
here=$(mktemp -d)
trap 'umount "$here/small" 2>/dev/null; rm -rf "$here"' EXIT # small: a disk that is soon full, of those tests that mount one
export YUNJIN_CACHE=$here/cache
failed=0
fail() { echo "FAILED: $*"; failed=1; }
expect() { # CODE TEXT COMMAND...: the exit code, and TEXT somewhere in what is said
    local code=$1 text=$2 got
    shift 2
    timeout 120 "$@" >"$here/said" 2>&1 </dev/null
    got=$?
    [ "$got" = "$code" ] && grep -qF -- "$text" "$here/said" ||
        fail "$* -> $got (expected $code, saying '$text'): $(head -20 "$here/said")"
}
