(() => {
  const HEAT_SIZE = 320, SMALL_SIZE = 190, MOST_STEPS = 65535;
  const { data, at, element, bytes } = page;
  const state = { hovered: null, pinned: null };
  let current = null;

  const unpacked = (packed) => {
    if (!packed) return null;
    const view = new DataView(bytes(packed.values).buffer);
    return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => view.getUint16(2 * i, true) / MOST_STEPS * packed.most);
  };
  const decoded = (picture) => {
    for (const module of picture.modules) {
      module.cells ??= module.grid[0] * module.grid[1];
      module.read ??= { maps: unpacked(module.maps), interaction: unpacked(module.interaction) };
    }
    return picture;
  };
  const kind = () => document.querySelector("input[name=kind]:checked").value;
  const valuesOf = (module) => module.read[kind()] ?? module.read.maps;
  const countOf = (module) => module.read.maps.length / module.cells;
  const lit = () => {
    const token = state.hovered ?? state.pinned;
    return token !== null && token < countOf(module()) ? token : null;
  };
  const module = () => current.modules[way.index];
  // One token's map, or the mean over all of them, with 1 where it is read as if from all cells alike.
  const mapOf = (one, token) => {
    const values = valuesOf(one), count = countOf(one), map = new Float32Array(one.cells);
    for (let i = 0; i < one.cells; i++) {
      let sum = 0;
      if (token !== null) sum = values[token * one.cells + i];
      else { for (let each = 0; each < count; each++) sum += values[each * one.cells + i] / count; }
      map[i] = sum * one.cells;
    }
    return map;
  };
  const size = (longest) => {
    const scale = longest / Math.max(current.width, current.height);
    return [Math.max(1, Math.round(current.width * scale)), Math.max(1, Math.round(current.height * scale))];
  };
  const paint = (canvas, one, token, longest) => {
    const [width, height] = size(longest), [rows, columns] = one.grid, map = mapOf(one, token);
    canvas.width = width;
    canvas.height = height;
    const context = canvas.getContext("2d"), pixels = context.createImageData(width, height);
    const steps = data.scale.length - 1, [x0, y0, x1, y1] = current.box;
    for (let y = 0; y < height; y++) {
      const down = ((y + 0.5) * current.height / height - y0) / (y1 - y0);
      for (let x = 0; x < width; x++) {
        const across = ((x + 0.5) * current.width / width - x0) / (x1 - x0), i = 4 * (y * width + x);
        if (down < 0 || down >= 1 || across < 0 || across >= 1) { pixels.data[i + 3] = 150; continue; }
        const value = map[Math.floor(down * rows) * columns + Math.floor(across * columns)];
        const share = Math.min(1, value / most()) ** data.gamma;
        pixels.data.set(data.scale[Math.round(share * steps)], i);
        pixels.data[i + 3] = 255 * (0.3 + 0.5 * share);
      }
    }
    context.putImageData(pixels, 0, 0);
  };
  const most = () => {
    current.most ??= {};
    current.most[kind()] ??= Math.max(...current.modules.map((one) => valuesOf(one).reduce((a, b) => Math.max(a, b), 0) * one.cells)) || 1;
    return current.most[kind()];
  };

  // A token's thumbnail: the photograph with the map over it.
  const paintSmall = (canvas, one, token) => {
    const over = document.createElement("canvas");
    paint(over, one, token, SMALL_SIZE);
    canvas.width = over.width;
    canvas.height = over.height;
    const context = canvas.getContext("2d");
    context.filter = `brightness(${current.dimming}) saturate(0.4)`;
    if (at("photo").complete && at("photo").naturalWidth) context.drawImage(at("photo"), 0, 0, canvas.width, canvas.height);
    context.filter = "none";
    context.drawImage(over, 0, 0);
  };
  const refresh = () => paint(at("heat"), module(), lit(), HEAT_SIZE);
  const listModules = () => {
    at("strip").replaceChildren();
    current.modules.forEach((one, i) => {
      const button = element("button", at("strip"));
      button.type = "button";
      paintSmall(element("canvas", button), one, null);
      element("span", button, one.title);
      button.addEventListener("click", () => way.goTo(i));
    });
  };
  const listTokens = () => {
    at("tokens").replaceChildren();
    const one = module();
    for (let token = 0; token < countOf(one); token++) {
      const node = element("div", at("tokens"), "", "token");
      node.id = `token-${token}`;
      node.dataset.token = token;
      node.setAttribute("role", "option");
      node.setAttribute("aria-label", `Token ${token}`);
      paintSmall(element("canvas", node), one, token);
      element("span", node, `${token}`);
      node.addEventListener("pointerenter", () => hover(token));
      node.addEventListener("pointerleave", () => hover(null));
      node.addEventListener("click", () => pin(token));
    }
    showTokens();
  };
  const showTokens = () => {
    const token = lit(), one = module();
    for (const node of at("tokens").children) {
      const own = Number(node.dataset.token);
      node.classList.toggle("lit", own === token);
      node.setAttribute("aria-selected", String(own === state.pinned));
      if (own === state.pinned) at("tokens").setAttribute("aria-activedescendant", node.id);
    }
    if (state.pinned === null) at("tokens").removeAttribute("aria-activedescendant");
    const highest = mapOf(one, token).reduce((a, b) => Math.max(a, b), 0).toFixed(1);
    at("token").textContent = token === null
      ? `All tokens together, at most ${highest} × even. Point at a token to see its map; click keeps it.`
      : `Token ${token}: at most ${highest} × even; entropy ${(one.entropy[kind()] ?? one.entropy.maps)[token].toFixed(2)} of at most ${one.even.toFixed(2)}.`;
    refresh();
  };
  const hover = (token) => { if (state.hovered !== token) { state.hovered = token; showTokens(); } };
  const pin = (token) => { state.pinned = state.pinned === token ? null : token; showTokens(); };
  const moveToken = (steps) => {
    const last = countOf(module()) - 1;
    state.pinned = state.pinned === null ? (steps > 0 ? 0 : last) : Math.max(0, Math.min(last, state.pinned + steps));
    state.hovered = null;
    showTokens();
    at(`token-${state.pinned}`).scrollIntoView({ block: "nearest" });
  };
  const applyKind = () => {
    at("most").textContent = `${most().toFixed(most() < 10 ? 1 : 0)} × even`;
    listModules();
    listTokens();
    markModule();
  };
  const markModule = () => {
    [...at("strip").children].forEach((node, i) => node.setAttribute("aria-current", String(i === way.index)));
  };
  // Maps do not glide from one module to the next: their cells are not the same tokens.
  const way = page.walk("modules", () => current.modules.map((one) => one.title), () => {}, () => { markModule(); listTokens(); });
  const open = (index) => {
    state.hovered = state.pinned = null;
    current = decoded(data.pictures[index]);
    page.showPicture(current, index);
    at("summary").textContent = [data.model, `${current.modules.length} modules`, `${countOf(current.modules[0])} tokens`].filter(Boolean).join(" · ");
    at("interaction").disabled = current.modules.some((one) => !one.interaction);
    if (at("interaction").disabled) document.querySelector("input[value=maps]").checked = true;
    page.listClasses(current.classes);
    page.paintScale();
    way.begin(Math.min(way.index, current.modules.length - 1));
    applyKind();
  };

  document.body.classList.add("dim");
  page.listPictures((picture) => (picture.classes.length ? picture.classes[0][0] : picture.name), open);
  document.querySelectorAll("input[name=kind]").forEach((node) => node.addEventListener("change", applyKind));
  // Thumbnails need the photograph, which is decoded after the script has run.
  at("photo").addEventListener("load", applyKind);
  page.listen(way, at("tokens"), { move: moveToken, release: () => { state.hovered = state.pinned = null; showTokens(); } });
  open(0);
})();
