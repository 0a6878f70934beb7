// From an image to what the model sees, as `sparsevision.data.preprocessing` has it.

import { resize } from "./resampling.js";

const LEAST_SIDE = 32, LEAST_MULTIPLES = 3;

// Halves go to the even number, as in Python.
function round(value) {
  const low = Math.floor(value), rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

function wholeSize([height, width], image) {
  const area = height * width, longest = area / LEAST_SIDE;
  const side = Math.min(Math.max(Math.sqrt((area * image.height) / image.width), LEAST_SIDE), longest);
  return [Math.max(round(side), 1), Math.max(round(area / side), 1)];
}

function shortSize([wanted, longest], image) {
  const least = Math.min(image.height, image.width), most = Math.max(image.height, image.width);
  let short = wanted, long = Math.max(Math.trunc((short * most) / least), 1);
  if ((most / least) * short > longest) {
    short = Math.max(round((longest * least) / most), 1);
    long = longest * least >= most ? Math.trunc((short * most) / least) : longest;
  }
  return image.height <= image.width ? [short, long] : [long, short];
}

function size(view, image) {
  if (view.fit === "stretch") return view.size;
  const sides = view.fit === "short" ? shortSize(view.size, image) : wholeSize(view.size, image);
  if (view.multiple === 1) return sides;
  return sides.map((side) => Math.max(round(side / view.multiple), LEAST_MULTIPLES) * view.multiple);
}

function cropped(view, image) {
  const [height, width] = view.size, cover = view.size.map((side) => Math.trunc(side / view.crop_fraction));
  const [coverHeight, coverWidth] = cover;
  const wide = image.width * coverHeight > image.height * coverWidth;
  const resizedWidth = wide ? Math.max(Math.trunc((coverHeight * image.width) / image.height), coverWidth) : coverWidth;
  const resizedHeight = wide ? coverHeight : Math.max(Math.trunc((coverWidth * image.height) / image.width), coverHeight);
  const left = round((resizedWidth - width) / 2), top = round((resizedHeight - height) / 2);
  const resized = resize(image, resizedWidth, resizedHeight, view.interpolation);
  const data = new Uint8ClampedArray(width * height * 3);
  for (let y = 0; y < height; y++) {
    const start = ((top + y) * resizedWidth + left) * 3;
    data.set(resized.data.subarray(start, start + width * 3), y * width * 3);
  }
  const box = [left / resizedWidth, top / resizedHeight, (left + width) / resizedWidth, (top + height) / resizedHeight];
  return { shown: { data, width, height }, box };
}

// Returns the input (3, H, W) of pixels { data: RGB bytes, width, height }, and the part of the image that it shows.
export function viewOf(view, image) {
  let shown, box = [0, 0, 1, 1];
  if (view.fit === "crop") ({ shown, box } = cropped(view, image));
  else {
    const [height, width] = size(view, image);
    shown = resize(image, width, height, view.interpolation);
  }
  const pixels = shown.width * shown.height, values = new Float32Array(3 * pixels);
  for (let channel = 0; channel < 3; channel++) {
    const scale = Math.fround(1 / (255 * view.std[channel])), shift = Math.fround(view.mean[channel] / view.std[channel]);
    for (let at = 0; at < pixels; at++) {
      values[channel * pixels + at] = Math.fround(shown.data[at * 3 + channel] * scale) - shift;
    }
  }
  return { values, height: shown.height, width: shown.width, box };
}
