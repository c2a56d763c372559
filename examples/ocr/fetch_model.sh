#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Puts PaddleOCR's recogniser, classifier and character list (Apache-2.0) into CACHE, a folder of ours: out of the Python
# package rapidocr-onnxruntime, pinned by checksum. What is there already and right is kept; anything else is replaced.
# usage: fetch_model.sh CACHE
set -euo pipefail
cache=${1:?usage: fetch_model.sh CACHE}
here=$(dirname "$(realpath "$0")")
version=1.4.4
mkdir -p "$cache"
sums="48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b  ch_PP-OCRv4_rec_infer.onnx
e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c  ch_ppocr_mobile_v2.0_cls_infer.onnx"
if ! (cd "$cache" && sha256sum --status -c <<<"$sums") 2>/dev/null; then
    echo "fetching rapidocr-onnxruntime $version (15 MB) from the Python package index ..."
    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    python3 -m pip download --quiet --no-deps --dest "$scratch" "rapidocr-onnxruntime==$version" || {
        echo "cannot fetch the model: give its folder with --models FOLDER (it must hold ch_PP-OCRv4_rec_infer.onnx)" >&2
        exit 3
    }
    python3 - "$scratch" "$cache" <<'PY'
import glob, sys, zipfile
wheel = zipfile.ZipFile(glob.glob(sys.argv[1] + "/*.whl")[0])
for name in wheel.namelist():
    if name.endswith(("rec_infer.onnx", "cls_infer.onnx")):
        open(sys.argv[2] + "/" + name.rsplit("/", 1)[1], "wb").write(wheel.read(name))
PY
    (cd "$cache" && sha256sum --quiet -c <<<"$sums")
    rm -f "$cache/characters.txt"
fi
if [ ! -s "$cache/characters.txt" ]; then
    /usr/bin/python3 "$here/characters.py" "$cache/ch_PP-OCRv4_rec_infer.onnx" >"$cache/characters.new"
    mv "$cache/characters.new" "$cache/characters.txt"
fi
echo "the models are in $cache"
