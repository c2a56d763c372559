#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Which room may include which (docs/design.md, 2): a line printed is an include against the arrows.
set -u
cd "$SOURCE" || exit 1
bad=0
forbid() { # FOLDER PATTERN WHY
    local hits
    hits=$(grep -rnE "#include *[<\"]($2)" "$1" --include='*.c' --include='*.h' --include='*.def' | grep -v "^$1/command/" || true)
    [ -z "$hits" ] && return
    echo "$1 may not include $2: $3"
    echo "$hits"
    bad=1
}
forbid runtime/base 'llvm|ir/|compiler/|comm/|yunjin/(comm|runtime|compiler)' 'base stands on libc'
forbid comm 'llvm|ir/|compiler/|targets/' 'a training job links comm without a compiler'
forbid ir 'llvm|comm/|compiler/|onnx|protobuf|ucp|infiniband' 'the texts know no machine'
forbid runtime 'llvm|ir/|compiler/|targets/' 'a model runs without its compiler'
forbid compiler 'ucp/|ucs/|infiniband|comm/' 'the compiler asks comm for prices, through its public header'
forbid targets 'ucp/|ucs/|infiniband|comm/|llvm' 'a target is facts'
if grep -lE '#include *"ir/graph' compiler/emit_*.c compiler/emit*.h; then
    echo "emitters see kernels only, never the graph"
    bad=1
fi
for example in examples/*/*.c; do
    if grep -nE '#include *"(runtime|comm|ir|compiler)/' "$example"; then
        echo "$example: examples use the public headers alone"
        bad=1
    fi
done
[ $bad = 0 ] && echo "all includes follow the arrows"
exit $bad
