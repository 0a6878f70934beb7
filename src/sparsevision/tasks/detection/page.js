// Reads a detector's output in a browser: objects above the thresholds, best first.

const BEST = 100, USUAL = 0.5;
const colorOf = (label) => `hsl(${(label * 137.5 + 40) % 360} 85% 60%)`;
const sigmoid = (value) => 1 / (1 + Math.exp(-value));

export const options = () => ({ threshold: { title: "Minimum score", least: 0.05, most: 0.95, step: 0.05, value: USUAL } });

function scoresOf(head, row, outputs) {
  const logits = head.logits.data.subarray(row * outputs, (row + 1) * outputs);
  if (head.scores === "sigmoid") return Array.from(logits, sigmoid);
  const most = Math.max(...logits), shares = Array.from(logits, (value) => Math.exp(value - most));
  const sum = shares.reduce((total, share) => total + share, 0);
  return shares.slice(0, -1).map((share) => share / sum);
}

export function read({ output, width, height }, model, { threshold }) {
  const head = output.heads[0], [, rowsOf, outputs] = head.logits.dims;
  const found = [];
  for (let row = 0; row < rowsOf; row++) {
    if (head.valid && !head.valid.data[row]) continue;
    const [x, y, w, h] = head.boxes.data.subarray(row * 4, row * 4 + 4);
    const box = [(x - w / 2) * width, (y - h / 2) * height, (x + w / 2) * width, (y + h / 2) * height];
    scoresOf(head, row, outputs).forEach((score, label) => found.push({ label, name: model.labels[label], score, box }));
  }
  const least = (label) => threshold ?? model.facts?.thresholds?.[label] ?? USUAL;
  const best = found.sort((one, other) => other.score - one.score).slice(0, Math.max(BEST, rowsOf));
  return best.filter(({ label, score }) => score >= least(label));
}

export function rows(result) {
  const counts = new Map();
  for (const { label, name } of result) counts.set(label, { name, count: (counts.get(label)?.count ?? 0) + 1 });
  const lines = [...counts].sort(([one], [other]) => one - other);
  if (!lines.length) return [{ label: "nothing found", value: "" }];
  return lines.map(([label, { name, count }]) => ({ label: name, value: String(count), color: colorOf(label) }));
}

export function draw(context, result, across, down) {
  context.lineWidth = Math.max(2, context.canvas.width / 400);
  const size = Math.max(11, context.canvas.width / 60);
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  for (const { label, name, score, box: [x0, y0, x1, y1] } of result) {
    context.strokeStyle = colorOf(label);
    context.strokeRect(x0 * across, y0 * down, (x1 - x0) * across, (y1 - y0) * down);
    if (result.length > 40) continue;
    const text = `${name} ${score.toFixed(2)}`, top = Math.max(y0 * down, size * 1.2);
    context.fillStyle = "rgb(12 13 14 / 0.65)";
    context.fillRect(x0 * across, top - size * 1.15, context.measureText(text).width + 6, size * 1.15);
    context.fillStyle = "#fff";
    context.fillText(text, x0 * across + 3, top);
  }
}
