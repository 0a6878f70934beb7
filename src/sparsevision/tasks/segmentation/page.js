// Reads a segmenter's output in a browser: the class of every pixel of the image, and each class's share of it.

const colorOf = (label) => `hsl(${(label * 137.5 + 40) % 360} 85% 60%)`;

export const options = () => ({});

// The cell before the centre of each pixel, and the share of the next one.
function placesBetween(cells, view, size, stride) {
  return Array.from({ length: size }, (_, pixel) => {
    const center = Math.min(Math.max(((pixel + 0.5) * view) / size / stride - 0.5, 0), cells - 1);
    const first = Math.min(Math.floor(center), Math.max(cells - 2, 0));
    return [first, center - first];
  });
}

export function read({ output, width, height, size }, model) {
  const { logits, stride } = output.heads[0], [, classes, rowsOf, columns] = logits.dims;
  const down = placesBetween(rowsOf, size[0], height, stride), across = placesBetween(columns, size[1], width, stride);
  const labels = new Uint8Array(width * height), counts = new Array(classes).fill(0), cells = rowsOf * columns;
  const line = new Float32Array(classes * columns);
  for (let y = 0; y < height; y++) {
    const [row, share] = down[y], next = Math.min(row + 1, rowsOf - 1);
    for (let label = 0; label < classes; label++) {
      for (let x = 0; x < columns; x++) {
        const before = logits.data[label * cells + row * columns + x], after = logits.data[label * cells + next * columns + x];
        line[label * columns + x] = before + share * (after - before);
      }
    }
    for (let x = 0; x < width; x++) {
      const [column, part] = across[x], further = Math.min(column + 1, columns - 1);
      let best = 0, most = -Infinity;
      for (let label = 0; label < classes; label++) {
        const before = line[label * columns + column];
        const value = before + part * (line[label * columns + further] - before);
        if (value > most) [best, most] = [label, value];
      }
      labels[y * width + x] = best;
      counts[best]++;
    }
  }
  const shares = counts.map((count, label) => ({ label, name: model.labels[label], share: count / labels.length }));
  return { labels, width, height, shares: shares.filter(({ share }) => share).sort((one, other) => other.share - one.share) };
}

export const rows = ({ shares }) =>
  shares.map(({ label, name, share }) => ({ label: name, value: `${(100 * share).toFixed(1)} %`, color: colorOf(label) }));

export function draw(context, { labels, width, height }) {
  const room = new OffscreenCanvas(width, height), inside = room.getContext("2d"), picture = inside.createImageData(width, height);
  const colors = new Map();
  labels.forEach((label, at) => {
    if (!colors.has(label)) colors.set(label, rgbOf(colorOf(label)));
    picture.data.set([...colors.get(label), label ? 130 : 0], at * 4);
  });
  inside.putImageData(picture, 0, 0);
  context.drawImage(room, 0, 0, context.canvas.width, context.canvas.height);
}

function rgbOf(color) {
  const dot = new OffscreenCanvas(1, 1).getContext("2d");
  dot.fillStyle = color;
  dot.fillRect(0, 0, 1, 1);
  return [...dot.getImageData(0, 0, 1, 1).data.slice(0, 3)];
}
