// Draws where the model looked, stage by stage: points, regions, chosen tokens and maps, whatever the graph returns.

import { unflatten } from "./structure.js";

const HUES = 12;
const colorOf = (number) => `hsl(${(number * 360 * 5) / HUES + 20} 90% 60%)`;

// Returns [{ stage, title, draw(context, width, height) }] of what a run recorded, in the order of the model's stages.
export function stagesOf(observations, tensors) {
  const stages = new Map();
  const add = (stage, draw) => stages.set(stage, [...(stages.get(stage) ?? []), draw]);
  const draws = { regions: drawRegions, points: drawPoints, kept: drawKept, level_maps: drawLevels, token_maps: drawTokens };
  for (const kind of ["level_maps", "token_maps", "kept", "regions", "points"]) {
    for (const [stage, structure] of Object.entries(observations[kind] ?? {})) {
      const seen = unflatten(structure, tensors);
      const draw = draws[kind](seen);
      if (draw) add(stage, draw);
    }
  }
  return [...stages].map(([stage, layers]) => ({
    title: stage.replaceAll(".", " ").replaceAll("_", " "),
    draw: (context, width, height) => layers.forEach((layer) => layer(context, width, height)),
  }));
}

function drawRegions({ xyxy }) {
  if (xyxy.dims.at(-1) !== 4) return null;
  return (context, width, height) => {
    context.lineWidth = Math.max(1, width / 500);
    context.globalAlpha = 0.75;
    for (let token = 0; token < xyxy.dims[1]; token++) {
      const [x0, y0, x1, y1] = xyxy.data.slice(token * 4, token * 4 + 4);
      context.strokeStyle = colorOf(token);
      context.strokeRect(x0 * width, y0 * height, (x1 - x0) * width, (y1 - y0) * height);
    }
    context.globalAlpha = 1;
  };
}

function drawPoints({ xy, weight }) {
  if (xy.dims.at(-1) !== 2) return null;
  const [, tokens, points] = xy.dims;
  const largest = weight ? weight.data.reduce((most, value) => Math.max(most, value), 1e-9) : 1;
  return (context, width, height) => {
    const radius = Math.max(1.2, width / 320);
    for (let token = 0; token < tokens; token++) {
      context.fillStyle = colorOf(token);
      for (let point = 0; point < points; point++) {
        const at = token * points + point;
        context.globalAlpha = weight ? 0.9 * Math.sqrt(Math.max(weight.data[at], 0) / largest) : 0.9;
        context.beginPath();
        context.arc(xy.data[at * 2] * width, xy.data[at * 2 + 1] * height, radius, 0, 2 * Math.PI);
        context.fill();
      }
    }
    context.globalAlpha = 1;
  };
}

// Cells that were not chosen on any level are darkened.
function drawKept({ indices, grids, ratios }) {
  const levels = indices.map((chosen, level) => ({ chosen: new Set([...chosen.data].map(Number)), grid: grids[level], level }));
  return (context, width, height) => {
    for (const { chosen, grid: [rows, columns], level } of levels) {
      const [across, down] = ratioOf(ratios, level);
      context.fillStyle = `rgb(8 9 12 / ${0.7 / levels.length + 0.12})`;
      for (let cell = 0; cell < rows * columns; cell++) {
        if (chosen.has(cell)) continue;
        const x = (cell % columns) / columns / across, y = Math.floor(cell / columns) / rows / down;
        context.fillRect(x * width, y * height, width / columns / across + 0.5, height / rows / down + 0.5);
      }
    }
  };
}

function ratioOf(ratios, level) {
  return ratios ? [ratios.data[level * 2], ratios.data[level * 2 + 1]] : [1, 1];
}

function drawLevels({ values, ratios }) {
  return (context, width, height) => values.forEach((map, level) => {
    heat(context, map.data, map.dims.slice(-2), width, height, 0.6 / values.length + 0.1, ratioOf(ratios, level));
  });
}

// Of every token, the cells that it was made of: each cell in the colour of its largest share.
function drawTokens({ read, given }) {
  const maps = read ?? given;
  if (!maps) return null;
  const [, tokens, rows, columns] = maps.dims, cells = rows * columns;
  return (context, width, height) => {
    for (let cell = 0; cell < cells; cell++) {
      let best = 0;
      for (let token = 1; token < tokens; token++) {
        if (maps.data[token * cells + cell] > maps.data[best * cells + cell]) best = token;
      }
      context.fillStyle = colorOf(best);
      context.globalAlpha = 0.4;
      context.fillRect(((cell % columns) * width) / columns, (Math.floor(cell / columns) * height) / rows,
        width / columns + 0.5, height / rows + 0.5);
    }
    context.globalAlpha = 1;
  };
}

function heat(context, data, [rows, columns], width, height, alpha, [across, down]) {
  const most = data.reduce((largest, value) => Math.max(largest, value), 1e-9);
  for (let cell = 0; cell < rows * columns; cell++) {
    const share = Math.sqrt(Math.max(data[cell], 0) / most);
    context.fillStyle = `hsl(${260 - 220 * share} 90% ${15 + 50 * share}% / ${alpha})`;
    const x = (cell % columns) / columns / across, y = Math.floor(cell / columns) / rows / down;
    context.fillRect(x * width, y * height, width / columns / across + 0.5, height / rows / down + 0.5);
  }
}
