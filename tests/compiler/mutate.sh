#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Damaged models through the whole command (mutate_onnx.py): decoders, the importer's own cases, operators of language models.
# The importer alone sees two thousand more (onnx_fuzz.c), model.yj another thousand (tests/runtime/damage.c).
# YUNJIN_MUTATIONS=FIRST,COUNT tries others.
# label: release-only (a hundred whole compilations; onnx_fuzz reads two thousand damaged files under the sanitizers)
. "$SOURCE/tests/start.sh"
export TMPDIR=$here
range=${YUNJIN_MUTATIONS:-1,120}
decoder=(--layers 1 --hidden 64 --heads 4 --kv 2 --head 16 --ffn 96 --vocab 64 --capacity 16)
for style in gqa plain; do
    "$python" "$SOURCE/examples/decoder/make_decoder.py" "$here/$style.onnx" --style $style "${decoder[@]}" >/dev/null || exit 1
done
"$python" "$SOURCE/tests/compiler/ort/cases.py" make "$here/cases" || exit 1
"$python" "$SOURCE/tests/compiler/mutate_onnx.py" "$BUILD/yunjin" "${range%,*}" "${range#*,}" "$here"/*.onnx "$SOURCE"/tests/compiler/onnx/*.onnx \
    "$here"/cases/*/*/model.onnx
