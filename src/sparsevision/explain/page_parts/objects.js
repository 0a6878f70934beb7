(() => {
  const HEAT_SIZE = 480, LARGEST = 0.011, SAME = 0.4;
  const { data, at, make, element, bytes, numbers } = page;
  const state = { run: 0, level: -1, hovered: null, pinned: null };
  let picture = null, run = null, drawn = null;

  // A run is unpacked when it is first shown.
  const decoded = (found) => {
    if (found.ready) return found;
    for (const level of found.levels) {
      const bits = bytes(level.chosen);
      level.chosen = Uint8Array.from({ length: level.rows * level.columns }, (_, i) => (bits[i >> 3] >> (7 - (i & 7))) & 1);
      level.saliency = level.saliency === null ? null : bytes(level.saliency);
      level.attention = bytes(level.attention);
    }
    for (const layer of found.layers) {
      layer.boxes = layer.boxes === null ? null : numbers(layer.boxes);
      layer.points = numbers(layer.points);
      layer.weights = bytes(layer.weights);
      layer.levels = bytes(layer.levels);
    }
    found.proposals = found.proposals === null ? null : numbers(found.proposals);
    found.ready = true;
    return found;
  };
  const blended = (key, position) => {
    const low = Math.floor(position), share = position - low;
    const here = run.layers[low][key];
    if (!share || !here) return here;
    const there = run.layers[low + 1][key];
    return here.map((value, i) => value + share * (there[i] - value));
  };
  const lit = () => state.hovered ?? state.pinned;
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  const timed = (seconds) => (seconds === null ? "" : seconds < 1 ? `${(1000 * seconds).toFixed(0)} ms` : `${seconds.toFixed(2)} s`);

  // ------------------------------------------------------------------------------------- boxes and points over the picture
  const placeBox = (rect, boxes, object) => {
    const { width, height } = picture;
    const [x0, y0, x1, y1] = boxes.subarray(4 * object, 4 * object + 4);
    rect.setAttribute("x", Math.min(x0, x1) * width);
    rect.setAttribute("y", Math.min(y0, y1) * height);
    rect.setAttribute("width", Math.abs(x1 - x0) * width);
    rect.setAttribute("height", Math.abs(y1 - y0) * height);
  };
  const drawOverlay = () => {
    const svg = at("overlay"), { width, height, box: [x0, y0, x1, y1] } = picture;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    make("path", { class: "outside", "fill-rule": "evenodd",
      d: `M0 0H${width}V${height}H0ZM${x0} ${y0}H${x1}V${y1}H${x0}Z` }, svg);
    // The best come last, over the others.
    const boxes = run.objects.map((object, i) => make("rect", { class: "object", stroke: object.colour, "data-object": i }));
    svg.append(...[...boxes].reverse());
    drawn = { boxes, before: make("rect", { class: "before" }, svg), points: make("g", {}, svg) };
  };
  const drawPoints = (objects) => {
    const layer = run.layers[way.index], points = blended("points", way.position);
    const count = layer.per_query, { width, height } = picture, radius = LARGEST * Math.max(width, height);
    const shown = [];
    for (const object of objects) {
      for (let i = object * count; i < (object + 1) * count; i++) {
        const r = radius * Math.sqrt(layer.weights[i] / 255) * (objects.length > 1 ? 0.4 : 1);
        if (layer.weights[i]) shown.push([r, i]);
      }
    }
    shown.sort((a, b) => b[0] - a[0]);
    drawn.points.replaceChildren(...shown.map(([r, i]) => make("circle", { class: "point", r: r.toFixed(2),
      cx: (points[2 * i] * width).toFixed(1), cy: (points[2 * i + 1] * height).toFixed(1),
      fill: data.levels[layer.levels[i] % data.levels.length] })));
  };
  const refresh = () => {
    const object = lit(), boxes = blended("boxes", way.position);
    if (boxes) drawn.boxes.forEach((rect, i) => placeBox(rect, boxes, i));
    const before = way.index ? run.layers[way.index - 1].boxes : run.proposals;
    const shown = object !== null && before !== null && way.position === way.index;
    drawn.before.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) placeBox(drawn.before, before, object);
    drawPoints(object !== null ? [object] : at("show-points").checked ? [...run.objects.keys()] : []);
  };

  // ------------------------------------------------------------------------------------------- maps of cells on the canvas
  const cellOf = (level, across, down) =>
    Math.min(level.rows - 1, Math.floor(down * level.rows)) * level.columns + Math.min(level.columns - 1, Math.floor(across * level.columns));
  // What a pixel of the map shows, from 0 to 1 of the most: a mean over the levels shown; the decoder's reading adds up.
  const meanOver = (levels, of) => levels.reduce((sum, level) => sum + of(level), 0) / levels.length;
  const mapped = {
    chosen: (levels, x, y) => meanOver(levels, (level) => level.chosen[cellOf(level, x, y)]),
    saliency: (levels, x, y) => meanOver(levels, (level) => (level.saliency[cellOf(level, x, y)] / 255) ** (1 / data.gamma)) ** data.gamma,
    attention: (levels, x, y) => levels.length === 1 ? levels[0].attention[cellOf(levels[0], x, y)] / 255
      : levels.reduce((sum, level) => sum + (level.attention[cellOf(level, x, y)] / 255) ** (1 / data.gamma) * level.rows * level.columns, 0),
  };
  const ground = () => document.querySelector("input[name=ground]:checked").value;
  const drawMap = () => {
    const kind = ground(), canvas = at("heat"), { width, height, box: [x0, y0, x1, y1] } = picture;
    const scale = HEAT_SIZE / Math.max(width, height);
    canvas.hidden = kind === "picture";
    at("legend").hidden = kind === "picture" || kind === "chosen";
    document.body.classList.toggle("dim", kind === "saliency" || kind === "attention");
    document.body.classList.toggle("chosen", kind === "chosen");
    if (canvas.hidden) return;
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    const levels = state.level < 0 ? run.levels : [run.levels[state.level]];
    const values = new Float32Array(canvas.width * canvas.height);
    for (let row = 0; row < canvas.height; row++) {
      const y = ((row + 0.5) / canvas.height * height - y0) / (y1 - y0);
      for (let column = 0; column < canvas.width; column++) {
        const x = ((column + 0.5) / canvas.width * width - x0) / (x1 - x0);
        if (x >= 0 && x < 1 && y >= 0 && y < 1) values[row * canvas.width + column] = mapped[kind](levels, x, y);
      }
    }
    paint(canvas, values, kind, levels.length > 1);
    describeMap(kind, levels.length > 1);
  };
  const paint = (canvas, values, kind, together) => {
    const context = canvas.getContext("2d"), pixels = context.createImageData(canvas.width, canvas.height);
    const adds = kind === "attention" && together, steps = data.scale.length - 1;
    const most = adds ? values.reduce((a, b) => Math.max(a, b), 0) || 1 : 1;
    for (let i = 0; i < values.length; i++) {
      if (kind === "chosen") {
        pixels.data[4 * i + 3] = 190 * (1 - values[i]);
        continue;
      }
      const share = adds ? (values[i] / most) ** data.gamma : values[i];
      pixels.data.set(data.scale[Math.round(share * steps)], 4 * i);
      pixels.data[4 * i + 3] = 255 * (0.35 + 0.5 * share);
    }
    context.putImageData(pixels, 0, 0);
  };
  const describeMap = (kind, together) => {
    page.paintScale();
    at("most").textContent = "the most of any token";
    at("about").textContent = kind === "saliency"
      ? "What the scorer expects the decoder to read; the highest tokens are updated."
      : "How much the decoder's queries read of each token, over all layers.";
    if (kind === "attention" && together) at("most").textContent = "the most of any place";
  };

  // ------------------------------------------------------------------------------------------------------------ the page
  const way = page.walk("layers", () => run.layers.map((layer) => layer.title), () => refresh());

  const showObjects = () => {
    const object = lit();
    document.body.classList.toggle("only", object !== null);
    drawn.boxes.forEach((node, i) => node.classList.toggle("lit", i === object));
    [...at("objects").children].forEach((node, i) => {
      node.classList.toggle("lit", i === object);
      node.setAttribute("aria-selected", String(i === state.pinned));
    });
    if (state.pinned === null) at("objects").removeAttribute("aria-activedescendant");
    else at("objects").setAttribute("aria-activedescendant", `object-${state.pinned}`);
    at("object").textContent = !run.objects.length ? "Nothing was found in this run."
      : object === null ? "Point at an object, here or in the picture, to see where its query looked; click keeps it."
        : `${run.objects[object].label}: points as large as their weight, in their level's colour; the box before this layer is dashed.`;
    refresh();
  };
  const hover = (object) => { if (state.hovered !== object) { state.hovered = object; showObjects(); } };
  const pin = (object) => { state.pinned = state.pinned === object ? null : object; showObjects(); };
  const listObjects = () => {
    const cut = run.count - run.objects.length;
    at("objects-title").textContent = cut ? `Objects: the best ${run.objects.length} of ${run.count}` : `Objects: ${run.count}`;
    at("objects").replaceChildren();
    run.objects.forEach((object, i) => {
      const node = element("div", at("objects"), "", "object");
      node.id = `object-${i}`;
      node.setAttribute("role", "option");
      const swatch = make("svg", { viewBox: "0 0 10 10" }, node);
      make("rect", { x: 0.5, y: 0.5, width: 9, height: 9, fill: object.colour }, swatch);
      element("span", node, `${i + 1}: ${object.label}`);
      element("span", node, object.score.toFixed(2));
      node.addEventListener("pointerenter", () => hover(i));
      node.addEventListener("pointerleave", () => hover(null));
      node.addEventListener("click", () => pin(i));
    });
  };
  const moveObject = (steps) => {
    const last = run.objects.length - 1;
    if (last < 0) return;
    state.pinned = state.pinned === null ? (steps > 0 ? 0 : last) : Math.max(0, Math.min(last, state.pinned + steps));
    state.hovered = null;
    showObjects();
    at(`object-${state.pinned}`).scrollIntoView({ block: "nearest" });
  };
  // The smallest box around the pointer: large objects do not hide the small ones in them.
  const pointed = (event) => {
    const frame = at("view").getBoundingClientRect();
    const x = (event.clientX - frame.left) / frame.width, y = (event.clientY - frame.top) / frame.height;
    const boxes = blended("boxes", way.position);
    let least = Infinity, found = null;
    for (let i = 0; boxes && i < run.objects.length; i++) {
      const [x0, y0, x1, y1] = boxes.subarray(4 * i, 4 * i + 4), area = (x1 - x0) * (y1 - y0);
      if (x >= x0 && x <= x1 && y >= y0 && y <= y1 && area < least) { least = area; found = i; }
    }
    return found;
  };

  const overlap = ([ax, ay, bx, by], [cx, cy, dx, dy]) => {
    const shared = Math.max(0, Math.min(bx, dx) - Math.max(ax, cx)) * Math.max(0, Math.min(by, dy) - Math.max(ay, cy));
    return shared / ((bx - ax) * (by - ay) + (dx - cx) * (dy - cy) - shared || 1);
  };
  // The kept object is looked for in another run: the one that covers most of it, if it covers enough.
  const followed = (object) => {
    if (!object) return null;
    const shares = run.objects.map((other) => overlap(object.box, other.box));
    const most = Math.max(...shares, 0);
    return most >= SAME ? shares.indexOf(most) : null;
  };
  const listLevels = () => {
    const body = at("levels").tBodies[0];
    body.replaceChildren();
    run.levels.forEach((level, i) => {
      const row = element("tr", body), name = element("td", row), total = level.rows * level.columns;
      const swatch = make("svg", { viewBox: "0 0 10 10" }, name);
      make("circle", { cx: 5, cy: 5, r: 4.5, fill: data.levels[i % data.levels.length] }, swatch);
      name.append(`${i + 1}: ${level.rows} × ${level.columns}`);
      const share = element("td", row, `${percent(level.kept / total)}`);
      const meter = element("meter", share);
      meter.value = level.kept / total;
      meter.setAttribute("aria-hidden", "true");
      element("td", row, percent(level.read));
    });
  };
  const listRuns = () => {
    at("control-row").hidden = at("runs-card").hidden = picture.control === null;
    if (picture.control === null) return;
    at("control-name").textContent = at("runs-control").textContent = picture.control.name;
    at("control-about").textContent = `${picture.control.name}: ${picture.control.about}`;
    at("control").max = picture.runs.length - 1;
    const body = at("runs").tBodies[0];
    body.replaceChildren();
    picture.runs.forEach((each, i) => {
      const row = element("tr", body);
      for (const text of [each.value, `${each.kept} of ${each.tokens}`, percent(each.captured), each.found, timed(each.seconds)]) {
        element("td", row, text);
      }
      row.addEventListener("click", () => choose(i));
    });
  };
  const choose = (index) => {
    const kept = state.pinned === null || run === null ? null : run.objects[state.pinned];
    state.run = Math.max(0, Math.min(picture.runs.length - 1, index));
    run = decoded(picture.runs[state.run]);
    state.hovered = null;
    state.pinned = followed(kept);
    at("control").value = state.run;
    at("control").setAttribute("aria-valuetext", run.value);
    at("value").textContent = run.value;
    [...at("runs").tBodies[0].rows].forEach((row, i) => row.setAttribute("aria-current", String(i === state.run)));
    at("found").textContent = run.found;
    at("facts").textContent = [`${run.kept} of ${run.tokens} tokens updated`,
      run.chooses ? `they hold ${percent(run.captured)} of what the decoder reads` : "", timed(run.seconds)].filter(Boolean).join(" · ");
    drawOverlay();
    listObjects();
    listLevels();
    way.begin(way.index);
    drawMap();
    showObjects();
  };
  const open = (index) => {
    state.pinned = state.hovered = null;
    picture = data.pictures[index];
    run = null;
    page.showPicture(picture, index);
    const first = picture.runs[picture.start];
    way.index = first.layers.length - 1;
    for (const kind of ["chosen", "saliency"]) document.querySelector(`input[value=${kind}]`).disabled = !first.chooses || (kind === "saliency" && first.levels[0].saliency === null);
    state.level = Math.min(state.level, first.levels.length - 1);
    at("level").replaceChildren();
    ["all levels", ...first.levels.map((level, i) => `level ${i + 1}`)].forEach((text, i) => { element("option", at("level"), text).value = i - 1; });
    at("level").value = state.level;
    at("summary").textContent = [data.model, `${first.levels.length} levels`, `${first.layers.length} decoder layers`,
      `${first.layers[0].per_query} points a query`].filter(Boolean).join(" · ");
    listRuns();
    choose(picture.start);
  };

  page.listPictures((each) => each.name, open);
  at("control").addEventListener("input", (event) => choose(Number(event.target.value)));
  at("level").addEventListener("change", (event) => { state.level = Number(event.target.value); drawMap(); });
  for (const input of document.querySelectorAll("input[name=ground]")) input.addEventListener("change", drawMap);
  at("show-boxes").addEventListener("change", (event) => document.body.classList.toggle("hide-boxes", !event.target.checked));
  at("show-points").addEventListener("change", refresh);
  at("view").addEventListener("pointermove", (event) => { if (event.pointerType !== "touch") hover(pointed(event)); });
  at("view").addEventListener("pointerleave", () => hover(null));
  at("view").addEventListener("click", (event) => { const object = pointed(event); object === null ? (state.pinned = null, showObjects()) : pin(object); });
  page.listen(way, at("objects"), {
    move: moveObject,
    release: () => { state.hovered = state.pinned = null; showObjects(); },
    other: (key) => { if (key === "+" || key === "-") choose(state.run + (key === "+" ? 1 : -1)); },
  });
  open(0);
})();
