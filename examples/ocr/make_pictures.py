#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the example pictures of this folder (lines of text). They are checked in; this says how they were made.
usage: make_pictures.py FOLDER     needs python3-pil, fonts-wqy-zenhei and fonts-dejavu-core"""
import sys
from PIL import Image, ImageDraw, ImageFont

LINES = [("chinese", "wqy/wqy-zenhei.ttc", "云锦把模型织进每一颗芯片"), ("english", "dejavu/DejaVuSans.ttf", "Hello, Yunjin 2026!"),
         ("mixed", "wqy/wqy-zenhei.ttc", "鲲鹏920与龙芯3A6000")]
for name, font, text in LINES:
    f = ImageFont.truetype("/usr/share/fonts/truetype/" + font, 34)
    width = int(f.getlength(text)) + 24
    picture = Image.new("RGB", (width, 48), (250, 248, 240))
    ImageDraw.Draw(picture).text((12, 4), text, font=f, fill=(20, 20, 40))
    picture.save(f"{sys.argv[1]}/{name}.png", optimize=True)
