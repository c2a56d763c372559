#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The runtime exports yj_ names only, includes nothing of the compiler's, and holds no arithmetic on tensors: kernels do it.
set -eu
library=$BUILD/libyunjin-runtime.so
[ -e "$library" ] || { echo "skipped: $library is not built"; exit 77; }
bad=0
say() { echo "$*"; bad=1; }

exported=$(nm -D --defined-only "$library" | awk '{ sub(/@.*/, "", $3); print $3 }' | sort -u)
strangers=$(grep -vE '^(yj_|__odr_asan\.yj_)' <<<"$exported" || true)
[ -z "$strangers" ] || say "exported without the prefix yj_:" $strangers
for name in $(grep -o 'yj_[a-z_]*(' "$SOURCE/include/yunjin/runtime.h" | tr -d '(' | grep -v yj_error_text | sort -u); do
    grep -qx "$name" <<<"$exported" || say "declared but not exported: $name"
done
[ "$(wc -w <<<"$exported")" -ge 40 ] || say "too few names found: the test does not see the library"

# No room above, and no LLVM, ONNX or protobuf.
found=$(grep -nE '#include [<"](ir/|compiler/|targets/|comm/|llvm|onnx|protobuf)' "$SOURCE"/runtime/*.[ch] "$SOURCE"/runtime/base/*.[ch] || true)
[ -z "$found" ] || say "includes: $found"
found=$(grep -nE '#include [<"](ir/|compiler/|llvm|onnx|protobuf)' "$SOURCE"/runtime/command/*.[ch] || true)
[ -z "$found" ] || say "includes: $found"

# No mathematics is called, and no file that runs a model knows a floating-point element.
math=$(nm -D --undefined-only "$library" | awk '{ sub(/@.*/, "", $2); print $2 }' |
       grep -xE '(exp|exp2|expm1|log|log1p|log2|tanh|erf|pow|sin|cos|sqrt|fma|cblas_.*)f?' || true)
[ -z "$math" ] || say "calls mathematics:" $math
found=$(grep -lw float "$SOURCE"/runtime/*.[ch] | grep -v '/tensor_compare.c$' || true)
[ -z "$found" ] || say "knows floats: $found"
exit $bad
