"""Counts pixels of a screenshot: `pixels.py PICTURE #rrggbb...` prints a number for each colour.

A curve that the browser drew has thousands of pixels of its colour; anti-aliased edges are left out
by taking only what is within a few shades. Reads the PNGs that Chromium writes (8 bits a sample,
RGB or RGBA, not interlaced; PNG specification, sections 5 and 9) and refuses others.
"""

import struct
import sys
import zlib

SHADES = 24


def rows(data):
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    at, packed, channels, width, height = 8, b"", 0, 0, 0
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlace = struct.unpack(">IIBBBBB", body)
            assert depth == 8 and colour in (2, 6) and interlace == 0, "another kind of PNG"
            channels = 3 if colour == 2 else 4
        elif kind == b"IDAT":
            packed += body
        at += length + 12
    raw, stride = zlib.decompress(packed), width * channels
    above = bytearray(stride)
    for y in range(height):
        start = y * (stride + 1)
        line = bytearray(raw[start + 1:start + 1 + stride])
        unfilter(raw[start], line, above, channels)
        yield line, channels
        above = line


def unfilter(kind, line, above, step):
    """Undoes the filter of one row in place (section 9.2)."""
    for i in range(len(line)) if kind else ():
        left = line[i - step] if i >= step else 0
        corner = above[i - step] if i >= step else 0
        up = above[i]
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            base = left + up - corner
            guess = min((left, up, corner), key=lambda value: abs(base - value))
        line[i] = (line[i] + guess) & 255


def main(picture, *colours):
    wanted = [bytes.fromhex(colour.lstrip("#")) for colour in colours]
    counts = [0] * len(wanted)
    with open(picture, "rb") as file:
        for line, step in rows(file.read()):
            for at in range(0, len(line), step):
                red, green, blue = line[at], line[at + 1], line[at + 2]
                if red == green == blue:
                    continue
                for index, (r, g, b) in enumerate(wanted):
                    if abs(red - r) + abs(green - g) + abs(blue - b) <= SHADES:
                        counts[index] += 1
    print(*counts)


main(*sys.argv[1:])
