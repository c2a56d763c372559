#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the characters that a recogniser of PaddleOCR can read, one a line, as its file's metadata lists them.
usage: characters.py MODEL.onnx"""
import sys
import onnx

if len(sys.argv) != 2:
    sys.exit(__doc__)
lists = [p.value for p in onnx.load(sys.argv[1], load_external_data=False).metadata_props if p.key == "character"]
if not lists:
    sys.exit(f"{sys.argv[1]}: its metadata holds no list of characters; put one (characters.txt, one a line) beside it")
sys.stdout.reconfigure(encoding="utf-8")
print(lists[0].removesuffix("\n"))
