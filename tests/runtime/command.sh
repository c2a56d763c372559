#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The program `yunjin`: exit codes, messages, and a small model compiled, inspected, run, profiled, compared and damaged.
set -u
yunjin=$BUILD/yunjin
data=${ONNX_TESTDATA:-/usr/share/libonnx-testdata/data/node}
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
failed=0

# expect CODE TEXT COMMAND...: the exit code, and TEXT somewhere in what is said
expect() {
    local code=$1 text=$2 got
    shift 2
    "$@" >"$here/said" 2>&1 </dev/null
    got=$?
    if [ "$got" != "$code" ] || ! grep -qF -- "$text" "$here/said"; then
        echo "FAILED: $* -> $got (expected $code, saying '$text'):"
        sed 's/^/    /' "$here/said"
        failed=1
    fi
}

# --- words
expect 2 "usage: yunjin COMMAND" "$yunjin"
expect 0 "usage: yunjin COMMAND" "$yunjin" --help
expect 0 "yunjin 0." "$yunjin" --version
expect 2 "unknown command weave" "$yunjin" weave
expect 2 "inspect" "$yunjin" weave
for c in compile run inspect test targets comm; do expect 0 "usage: yunjin $c" "$yunjin" $c --help; done
expect 2 "MODEL is missing" "$yunjin" run
expect 2 "unexpected --fast" "$yunjin" run x.yj --fast
expect 2 "a value is missing behind --input" "$yunjin" run x.yj --input
expect 2 "--repeat none is not a number" "$yunjin" run x.yj --repeat none
expect 2 "--dim n=0..x: write NAME=LOW..HIGH or NAME=N" "$yunjin" run x.yj --dim n=0..x
expect 2 "--dim n=8..2: the bounds are reversed; write n=2..8" "$yunjin" compile x.onnx --dim n=8..2
expect 2 "--ranks 0" "$yunjin" run x.yj --ranks 0
expect 1 "No such file" "$yunjin" run "$here/nothing.yj"
expect 1 "No such file" "$yunjin" compile "$here/nothing.onnx"
expect 1 "No such file" "$yunjin" inspect "$here/nothing.yj"
expect 2 "DIR is missing" "$yunjin" test onnx
expect 1 "cannot read" "$yunjin" test onnx "$here/nothing"
expect 1 "no device" "$yunjin" test device gpu
mkdir "$here/empty"
expect 1 "no model.onnx" "$yunjin" test onnx "$here/empty"
expect 1 "is no compiled model" "$yunjin" run "$here/empty"

if [ ! -r "$data/test_add/model.onnx" ]; then
    echo "skipped: no $data (package libonnx-testdata): the part with a model"
    [ $failed = 0 ] && exit 77
    exit 1
fi

# --- a model
m=$here/add.yj
set0=$data/test_add/test_data_set_0
echo garbage >"$here/garbage.onnx"
expect 1 "garbage.onnx" "$yunjin" compile "$here/garbage.onnx"
expect 3 "cannot write" "$yunjin" compile "$data/test_add/model.onnx" -o /proc/none/add.yj
expect 0 "add.yj" "$yunjin" compile "$data/test_add/model.onnx" -o "$m" --verify
expect 0 '"kernels"' "$yunjin" compile "$data/test_add/model.onnx" -o "$m" --json
expect 0 "every file is as it was written" "$yunjin" inspect "$m" --verify
expect 0 "input   x f32 [3, 4, 5]" "$yunjin" inspect "$m"
expect 0 "plan 1" "$yunjin" inspect "$m" --plan
expect 0 '"command": "inspect"' "$yunjin" inspect "$m" --json
expect 0 "sum f32 [3, 4, 5]" "$yunjin" run "$m" --input "$set0"
expect 0 "equal" "$yunjin" run "$m" --input "$set0" --compare "$set0"
expect 0 "equal" "$yunjin" run "$data/test_add/model.onnx" --input x="$set0/input_0.pb" --input "y=$set0/input_1.pb" --compare "$set0"
expect 0 '"median_s"' "$yunjin" run "$m" --random 7 --repeat 5 --json
expect 1 "input 'y' is not bound" "$yunjin" run "$m" --input x="$set0/input_0.pb"
expect 1 "run: --input y=FILE, or --random SEED" "$yunjin" run "$m" --input x="$set0/input_0.pb"
expect 1 "--dim N=3: no input has such a dimension" "$yunjin" run "$m" --random 1 --dim N=3
expect 1 "no input is called 'z'; there are: x, y" "$yunjin" run "$m" --input z="$set0/input_0.pb"
expect 1 "DIFFERENT" "$yunjin" run "$m" --random 7 --compare "$set0"
expect 1 "No such file" "$yunjin" run "$m" --input x=/nowhere.npy
expect 1 "x is given twice" "$yunjin" run "$m" --input x="$set0/input_0.pb" --input y="$set0/input_1.pb" --input x="$set0/input_1.pb"
expect 2 "unknown target nope" "$yunjin" run "$data/test_add/model.onnx" --random 7 --target nope
expect 2 "unknown target nope" "$yunjin" inspect "$data/test_add/model.onnx" --target host,nope
expect 1 "twice" "$yunjin" inspect "$data/test_add/model.onnx" --target host,host
expect 1 "is compiled already" "$yunjin" compile "$m"
expect 1 "it has no program for the target phytium; it has: " "$yunjin" run "$m" --random 7 --target phytium
expect 0 "arithmetic   0.06 kFLOP" "$yunjin" inspect "$data/test_add/model.onnx"
expect 0 "nothing of it was shared: all 3 ranks do the same" "$yunjin" compile "$data/test_add/model.onnx" -o "$here/shared.yj" --shard tp=3
expect 0 "sum" "$yunjin" run "$m" --random 7 --output "$here/out" --profile "$here/trace.json"
expect 0 "equal" "$yunjin" run "$m" --random 7 --compare "$here/out"
expect 1 "DIFFERENT" "$yunjin" run "$m" --random 8 --compare "$here/out"
expect 0 "Add" grep -o '"name":"[^"]*Add[^"]*"' "$here/trace.json"
expect 3 "cannot make" "$yunjin" run "$m" --random 7 --output /proc/none
expect 3 "cannot write" "$yunjin" run "$m" --random 7 --profile /proc/none/trace.json
expect 1 "it is for 1 rank; this job has 2" "$yunjin" run "$m" --random 7 --ranks 2 # the model has one
printf '%s' '{"a":1}' >"$here/x.npy"
expect 1 "x.npy" "$yunjin" run "$m" --input x="$here/x.npy"
expect 0 "1 pass, 0 fail, 0 unsupported, 0 crash of 1" "$yunjin" test onnx "$data/test_add"
expect 0 '"pass": 1' "$yunjin" test onnx "$data/test_add" --json

# --- another process left half a model; a byte of one that is whole was changed
cp -r "$m" "$here/half.yj" && rm "$here/half.yj/manifest.json"
expect 1 "is no compiled model" "$yunjin" run "$here/half.yj" --random 7
cp -r "$m" "$here/bad.yj"
plan=$(ls "$here/bad.yj"/*.plan)
sed -i 's/launch/Launch/' "$plan"
expect 1 "is damaged" "$yunjin" run "$here/bad.yj" --random 7

# --- running needs no compiler library, and its absence is said when compiling
mkdir "$here/alone"
cd / # the build's run path may name the current folder
cp "$yunjin" "$here/alone/"
cp -P "$BUILD"/libyunjin-base.so* "$BUILD"/libyunjin-runtime.so* "$BUILD"/libyunjin-comm.so* "$here/alone/"
expect 0 "equal" "$here/alone/yunjin" run "$m" --input "$set0" --compare "$set0"
expect 1 "libyunjin-compiler" "$here/alone/yunjin" compile "$data/test_add/model.onnx" -o "$here/no.yj"
[ $failed = 0 ] && echo "all as expected"
exit $failed
