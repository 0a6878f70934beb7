(() => {
  const REACH = 18, HEAT_SIZE = 200;
  const { data, at, make, element, numbers } = page;
  const state = { hovered: null, pinned: null };
  let current = null;

  const decoded = (picture) => {
    for (const stage of picture.stages) {
      if (!stage.xy) {
        stage.xy = numbers(stage.points);
        stage.boxes = stage.regions ? numbers(stage.regions) : null;
      }
    }
    return picture;
  };
  const blended = (key, position) => {
    const low = Math.floor(position), share = position - low;
    const here = current.stages[low][key];
    if (!share || !here) return here;
    const there = current.stages[low + 1][key];
    return here.map((value, i) => value + share * (there[i] - value));
  };
  const lit = () => state.hovered ?? state.pinned;

  // ------------------------------------------------------------------ drawing of each kind, over any svg of the picture
  const pointsPath = (xy, token) => {
    const { width, height, per_token: count } = current;
    let path = "";
    for (let i = token * count; i < (token + 1) * count; i++) {
      path += `M${(xy[2 * i] * width).toFixed(1)} ${(xy[2 * i + 1] * height).toFixed(1)}h0`;
    }
    return path;
  };
  const placeRegion = (rect, boxes, token) => {
    const { width, height } = current;
    const [x0, y0, x1, y1] = boxes.subarray(4 * token, 4 * token + 4);
    rect.setAttribute("x", Math.min(x0, x1) * width);
    rect.setAttribute("y", Math.min(y0, y1) * height);
    rect.setAttribute("width", Math.abs(x1 - x0) * width);
    rect.setAttribute("height", Math.abs(y1 - y0) * height);
  };
  const layer = (svg, { spot }) => {
    const { width, height, box, tokens } = current;
    svg.replaceChildren();
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (!svg.classList.contains("main")) {
      make("image", { class: "whole", href: current.image, width, height, preserveAspectRatio: "none" }, svg);
    }
    const [x0, y0, x1, y1] = box;
    make("path", { class: "outside", "fill-rule": "evenodd",
      d: `M0 0H${width}V${height}H0ZM${x0} ${y0}H${x1}V${y1}H${x0}Z` }, svg);
    const heat = make("image", { width, height, preserveAspectRatio: "none", visibility: "hidden" }, svg);
    const clip = make("clipPath", { id: spot }, svg);
    const hole = make("rect", {}, clip);
    const bright = make("image", { class: "spot", href: current.image, width, height, preserveAspectRatio: "none",
      "clip-path": `url(#${spot})`, visibility: "hidden" }, svg);
    const drawn = { heat, hole, bright, regions: [], points: [] };
    for (let token = 0; token < tokens; token++) {
      const shared = { stroke: data.colours[token % data.colours.length], "data-token": token };
      drawn.regions.push(make("rect", { class: "region", ...shared }, svg));
      drawn.points.push(make("path", { class: "points", ...shared }, svg));
    }
    return drawn;
  };
  const place = (drawn, xy, boxes) => {
    for (let token = 0; token < current.tokens; token++) {
      drawn.points[token].setAttribute("d", pointsPath(xy, token));
      if (boxes) placeRegion(drawn.regions[token], boxes, token);
    }
    spotlight(drawn, boxes);
  };
  const spotlight = (drawn, boxes) => {
    const token = lit();
    const shown = token !== null && boxes && at("show-dimmed").checked && !at("show-density").checked;
    drawn.bright.setAttribute("visibility", shown ? "visible" : "hidden");
    if (shown) placeRegion(drawn.hole, boxes, token);
  };
  const highlight = (drawn, boxes) => {
    const token = lit();
    drawn.points.forEach((node, i) => node.classList.toggle("lit", i === token));
    drawn.regions.forEach((node, i) => node.classList.toggle("lit", i === token));
    spotlight(drawn, boxes);
  };

  // A top-hat density, exact: each disc is one span a row; a running sum fills all spans at once.
  const density = (xy, width, height) => {
    const reach = data.radius * Math.min(width, height);
    const change = new Float32Array(height * (width + 1));
    const count = xy.length / 2;
    for (let i = 0; i < count; i++) {
      const x = xy[2 * i] * width, y = xy[2 * i + 1] * height;
      const last = Math.min(height - 1, Math.floor(y + reach - 0.5));
      for (let row = Math.max(0, Math.ceil(y - reach - 0.5)); row <= last; row++) {
        const half = Math.sqrt(Math.max(0, reach * reach - (row + 0.5 - y) ** 2));
        const first = Math.min(width, Math.max(0, Math.ceil(x - half - 0.5)));
        const behind = Math.min(width, Math.max(0, Math.floor(x + half - 0.5) + 1));
        if (behind > first) { change[row * (width + 1) + first] += 1; change[row * (width + 1) + behind] -= 1; }
      }
    }
    const unit = (width * height) / (Math.PI * reach * reach * count);
    const values = new Float32Array(width * height);
    for (let row = 0; row < height; row++) {
      let sum = 0;
      for (let column = 0; column < width; column++) {
        sum += change[row * (width + 1) + column];
        values[row * width + column] = sum * unit;
      }
    }
    return values;
  };
  const heatSize = () => {
    const scale = HEAT_SIZE / Math.max(current.width, current.height);
    return [Math.max(1, Math.round(current.width * scale)), Math.max(1, Math.round(current.height * scale))];
  };
  const drawHeat = (canvas, xy) => {
    const [width, height] = heatSize();
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
    const values = density(xy, width, height), steps = data.scale.length - 1;
    for (let i = 0; i < values.length; i++) {
      const share = Math.min(1, values[i] / current.most) ** data.gamma;
      pixels.data.set(data.scale[Math.round(share * steps)], 4 * i);
      pixels.data[4 * i + 3] = 255 * (0.35 + 0.5 * share);
    }
    context.putImageData(pixels, 0, 0);
  };

  // ------------------------------------------------------------------------------------------------------------ the page
  let main = null, minis = [];
  const refresh = () => {
    const xy = blended("xy", way.position), boxes = blended("boxes", way.position);
    place(main, xy, boxes);
    if (!at("heat").hidden) drawHeat(at("heat"), xy);
  };
  const miniHeats = (shown) => minis.forEach((mini, i) => {
    const stage = current.stages[i];
    if (shown && !stage.heat) {
      const canvas = document.createElement("canvas");
      drawHeat(canvas, stage.xy);
      stage.heat = canvas.toDataURL();
    }
    if (shown) mini.heat.setAttribute("href", stage.heat);
    mini.heat.setAttribute("visibility", shown ? "visible" : "hidden");
  });
  const way = page.walk("stages", () => current.stages.map((stage) => stage.title), refresh, () => {
    [...at("strip").children].forEach((node, i) => node.setAttribute("aria-current", String(i === way.index)));
  });

  const showTokens = () => {
    const token = lit();
    document.body.classList.toggle("only", token !== null);
    highlight(main, blended("boxes", way.position));
    minis.forEach((mini, i) => highlight(mini, current.stages[i].boxes));
    for (const node of at("tokens").children) {
      const own = Number(node.dataset.token);
      node.classList.toggle("lit", own === token);
      node.setAttribute("aria-selected", String(own === state.pinned));
      if (own === state.pinned) at("tokens").setAttribute("aria-activedescendant", node.id);
    }
    if (state.pinned === null) at("tokens").removeAttribute("aria-activedescendant");
    const response = responses();
    at("token").textContent = token === null ? "Point at a token, here or in the picture, to follow it through the stages; click keeps it."
      : response ? `Token ${token} alone answers ${at("class").value} with a logit of ${signed(response[token])}.` : `Token ${token}`;
  };
  const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1);
  const hover = (token) => { if (state.hovered !== token) { state.hovered = token; showTokens(); } };
  const pin = (token) => { state.pinned = state.pinned === token ? null : token; showTokens(); };
  const responses = () => (current.responses.find(([label]) => label === at("class").value) ?? [null, null])[1];
  const listTokens = () => {
    const response = responses();
    const order = [...Array(current.tokens).keys()];
    if (response) order.sort((a, b) => response[b] - response[a]);
    at("tokens").replaceChildren();
    for (const token of order) {
      const node = element("div", at("tokens"), "", "token");
      node.id = `token-${token}`;
      node.dataset.token = token;
      node.setAttribute("role", "option");
      node.setAttribute("aria-label", `Token ${token}`);
      const swatch = make("svg", { viewBox: "0 0 10 10" }, node);
      make("circle", { cx: 5, cy: 5, r: 4.5, fill: data.colours[token % data.colours.length] }, swatch);
      element("span", node, String(token));
      node.addEventListener("pointerenter", () => hover(token));
      node.addEventListener("pointerleave", () => hover(null));
      node.addEventListener("click", () => pin(token));
    }
    showTokens();
  };
  const moveToken = (steps) => {
    const listed = [...at("tokens").children].map((node) => Number(node.dataset.token));
    const place = listed.indexOf(state.pinned);
    const next = place < 0 ? (steps > 0 ? 0 : listed.length - 1) : Math.max(0, Math.min(listed.length - 1, place + steps));
    state.pinned = listed[next];
    state.hovered = null;
    showTokens();
    at(`token-${state.pinned}`).scrollIntoView({ block: "nearest" });
  };
  const nearest = (event) => {
    const frame = at("view").getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    const xy = blended("xy", way.position);
    let best = REACH ** 2, found = null;
    for (let i = 0; i < xy.length / 2; i++) {
      const distance = (xy[2 * i] * frame.width - x) ** 2 + (xy[2 * i + 1] * frame.height - y) ** 2;
      if (distance < best) { best = distance; found = Math.floor(i / current.per_token); }
    }
    return found;
  };

  const listStages = () => {
    at("strip").replaceChildren();
    minis = current.stages.map((stage, i) => {
      const button = element("button", at("strip"));
      button.type = "button";
      const svg = make("svg", { class: "mini", "aria-hidden": "true" }, button);
      const drawn = layer(svg, { spot: `spot-${i}` });
      place(drawn, stage.xy, stage.boxes);
      element("span", button, stage.title);
      button.addEventListener("click", () => way.goTo(i));
      return drawn;
    });
  };
  const listAnswers = () => {
    page.listClasses(current.classes);
    at("class").replaceChildren();
    for (const [label] of current.responses) element("option", at("class"), label).value = label;
    at("order").hidden = !current.responses.length;
  };
  const scaleLegend = () => {
    const [width, height] = heatSize();
    current.most ??= current.stages.reduce((most, stage) => density(stage.xy, width, height).reduce((a, b) => Math.max(a, b), most), 0) || 1;
    at("most").textContent = `${current.most.toFixed(current.most < 10 ? 1 : 0)} × even sampling`;
    at("kernel").textContent = `Top-hat kernel, radius ${+(100 * data.radius).toPrecision(3)} % of the short side.`;
    page.paintScale();
  };
  const applyShows = () => {
    const body = document.body.classList;
    body.toggle("hide-points", !at("show-points").checked);
    body.toggle("hide-regions", !at("show-regions").checked);
    body.toggle("dim", at("show-dimmed").checked);
    const dense = at("show-density").checked;
    at("heat").hidden = at("legend").hidden = !dense;
    miniHeats(dense);
    refresh();
    showTokens();
  };
  const open = (index) => {
    state.hovered = state.pinned = null;
    current = decoded(data.pictures[index]);
    page.showPicture(current, index);
    at("summary").textContent = [data.model, `${current.tokens} tokens`, `${current.per_token} points each`,
      `${current.stages.length} stages`].filter(Boolean).join(" · ");
    main = layer(at("overlay"), { spot: "spot-main" });
    scaleLegend();
    listStages();
    listAnswers();
    listTokens();
    way.begin(way.index);
    applyShows();
  };

  at("overlay").classList.add("main");
  page.listPictures((picture) => (picture.classes.length ? picture.classes[0][0] : picture.name), open);
  at("class").addEventListener("change", listTokens);
  for (const kind of ["points", "regions", "density", "dimmed"]) at(`show-${kind}`).addEventListener("change", applyShows);
  at("view").addEventListener("pointermove", (event) => { if (event.pointerType !== "touch") hover(nearest(event)); });
  at("view").addEventListener("pointerleave", () => hover(null));
  at("view").addEventListener("click", (event) => { const token = nearest(event); token === null ? (state.pinned = null, showTokens()) : pin(token); });
  page.listen(way, at("tokens"), { move: moveToken, release: () => { state.hovered = state.pinned = null; showTokens(); } });
  open(0);
})();
