// Makes a screenshot a fraction as large: a PNG with a palette of 256 colours. Reads what Chromium
// writes: eight bits a channel, not interlaced.

import { crc32, deflateSync, inflateSync } from "node:zlib";

const SIGNATURE = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
const COLOURS_MAX = 256;

export function withPalette(png) {
  const { width, height, pixels } = decode(png);
  const { colours, places } = quantize(pixels);
  const rows = Buffer.alloc((width + 1) * height);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      rows[y * (width + 1) + 1 + x] = places.get(pixels[y * width + x]);
    }
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    SIGNATURE,
    chunk("IHDR", head),
    chunk("PLTE", Buffer.from(colours.flatMap((it) => [it >> 16, (it >> 8) & 255, it & 255]))),
    chunk("IDAT", deflateSync(rows, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Each pixel as one number: red, green, blue. */
function decode(png) {
  const packed = [];
  let head = null;
  for (let at = SIGNATURE.length; at < png.length;) {
    const length = png.readUInt32BE(at);
    const kind = png.toString("latin1", at + 4, at + 8);
    const data = png.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") head = data;
    if (kind === "IDAT") packed.push(data);
    at += length + 12;
  }
  const [width, height] = [head.readUInt32BE(0), head.readUInt32BE(4)];
  const channels = { 2: 3, 6: 4 }[head[9]];
  if (head[8] !== 8 || !channels || head[12] !== 0) throw new Error("not a picture of Chromium's");
  const bytes = unfilter(inflateSync(Buffer.concat(packed)), width * channels, height, channels);
  const pixels = new Uint32Array(width * height);
  for (let at = 0; at < pixels.length; at += 1) {
    const [red, green, blue] = bytes.subarray(at * channels, at * channels + 3);
    pixels[at] = (red << 16) | (green << 8) | blue;
  }
  return { width, height, pixels };
}

/** Undoes the five filters that a row of a PNG can have. */
function unfilter(rows, stride, height, channels) {
  const out = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y += 1) {
    const filter = rows[y * (stride + 1)];
    for (let x = 0; x < stride; x += 1) {
      const to = y * stride + x;
      const left = x >= channels ? out[to - channels] : 0;
      const up = y > 0 ? out[to - stride] : 0;
      const corner = x >= channels && y > 0 ? out[to - stride - channels] : 0;
      const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
      out[to] = rows[y * (stride + 1) + 1 + x] + guess;
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const [byLeft, byUp, byCorner] = [left, up, corner].map((it) =>
    Math.abs(left + up - corner - it),
  );
  if (byLeft <= byUp && byLeft <= byCorner) return left;
  return byUp <= byCorner ? up : corner;
}

/** The colours used most, and which of them stands for each that is used. */
function quantize(pixels) {
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const colours = [];
  // What is rare is kept where nothing close to it is there yet: few pixels may be all of a colour.
  const byUse = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
  for (const least of [24, 12, 6, 0]) {
    for (const colour of byUse) {
      if (colours.length === COLOURS_MAX) break;
      if (!colours.some((it) => distance(it, colour) <= least ** 2)) colours.push(colour);
    }
  }
  const places = new Map();
  for (const colour of byUse) {
    let best = 0;
    for (let at = 1; at < colours.length; at += 1) {
      if (distance(colours[at], colour) < distance(colours[best], colour)) best = at;
    }
    places.set(colour, best);
  }
  return { colours, places };
}

function distance(one, other) {
  const red = (one >> 16) - (other >> 16);
  const green = ((one >> 8) & 255) - ((other >> 8) & 255);
  const blue = (one & 255) - (other & 255);
  return red * red + green * green + blue * blue;
}

function chunk(kind, data) {
  const named = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(named) >>> 0);
  return Buffer.concat([length, named, sum]);
}
