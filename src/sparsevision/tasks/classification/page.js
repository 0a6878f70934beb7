// Reads a classifier's output in a browser: the best classes.

const SHOWN = 5;

export const options = () => ({});

export function read({ output }, model) {
  const most = output.data.reduce((largest, value) => Math.max(largest, value), -Infinity);
  const shares = Array.from(output.data, (value) => Math.exp(value - most));
  const sum = shares.reduce((total, share) => total + share, 0);
  const best = shares.map((share, label) => ({ label: model.labels[label], score: share / sum }));
  return best.sort((one, other) => other.score - one.score).slice(0, SHOWN);
}

export const rows = (result) => result.map(({ label, score }) => ({ label, value: score.toFixed(3) }));

export function draw(context, result) {
  const size = Math.max(14, Math.min(context.canvas.width, context.canvas.height) / 22);
  context.font = `600 ${size}px system-ui, sans-serif`;
  context.textBaseline = "top";
  result.slice(0, 3).forEach(({ label, score }, line) => {
    const text = `${label} ${score.toFixed(2)}`, top = size * (0.5 + 1.5 * line);
    context.fillStyle = "rgb(12 13 14 / 0.7)";
    context.fillRect(size / 2, top, context.measureText(text).width + size * 0.8, size * 1.4);
    context.fillStyle = "#fff";
    context.fillText(text, size * 0.9, top + size * 0.2);
  });
}
