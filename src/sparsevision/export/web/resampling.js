// Resampling as Pillow does it, to the same 8-bit values: separable, with the filter widened where an image shrinks.

const BITS = 22;

const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: {
    support: 2,
    at: (x) => {
      const a = -0.5, t = Math.abs(x);
      if (t < 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
      return t < 2 ? (((t - 5) * t + 8) * t - 4) * a : 0;
    },
  },
};

function weights(from, to, filter) {
  const scale = from / to, wide = Math.max(scale, 1), support = filter.support * wide;
  return Array.from({ length: to }, (_, place) => {
    const center = (place + 0.5) * scale;
    const first = Math.max(Math.trunc(center - support + 0.5), 0);
    const last = Math.min(Math.trunc(center + support + 0.5), from);
    const shares = [];
    for (let x = first; x < last; x++) shares.push(filter.at((x - center + 0.5) / wide));
    const sum = shares.reduce((total, share) => total + share, 0);
    const whole = shares.map((share) => {
      const value = (share / sum) * (1 << BITS);
      return Math.trunc(value < 0 ? value - 0.5 : value + 0.5);
    });
    return { first, whole };
  });
}

const clip = (sum) => Math.min(Math.max(sum >> BITS, 0), 255);

// Resizes pixels { data: RGB bytes, width, height }.
export function resize(image, width, height, method) {
  const filter = FILTERS[method];
  let { data } = image;
  if (width !== image.width) {
    const columns = weights(image.width, width, filter), made = new Uint8ClampedArray(width * image.height * 3);
    for (let y = 0; y < image.height; y++) {
      for (let x = 0; x < width; x++) {
        const { first, whole } = columns[x];
        for (let channel = 0; channel < 3; channel++) {
          let sum = 1 << (BITS - 1), at = (y * image.width + first) * 3 + channel;
          for (let k = 0; k < whole.length; k++, at += 3) sum += data[at] * whole[k];
          made[(y * width + x) * 3 + channel] = clip(sum);
        }
      }
    }
    data = made;
  }
  if (height !== image.height) {
    const rows = weights(image.height, height, filter), made = new Uint8ClampedArray(width * height * 3);
    for (let y = 0; y < height; y++) {
      const { first, whole } = rows[y];
      for (let x = 0; x < width * 3; x++) {
        let sum = 1 << (BITS - 1), at = first * width * 3 + x;
        for (let k = 0; k < whole.length; k++, at += width * 3) sum += data[at] * whole[k];
        made[y * width * 3 + x] = clip(sum);
      }
    }
    data = made;
  }
  return { data, width, height };
}
