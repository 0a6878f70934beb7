"use strict";
// The shell of the page: the data, images and runs to choose, steps to walk through, entries to pick, dark and light.
// A panel registers with page.panel(name, handlers), all of which are optional:
//   opened(content)        another image or run is shown; `content` is the panel's data for it
//   summary(content)       words for the head of the page
//   key(key)               a key that the shell has no use for
//   picker                 made by page.picker, for the keyboard
// and a view, of which there is one, also with:
//   noun, entries          plural names of its steps and of the entries of its list
//   steps(content)         titles of the steps; first(content), the step to begin with
//   pace(content)          milliseconds from one step to the next where they play, if it has its own
//   draw(position)         called while the position glides from step to step; arrived(index), as each step begins
//   thumbnail(button, i)   fills the small image of a step
const page = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("data").textContent);
  const panels = [];
  const shown = { image: null, run: null, number: 0 };
  const at = (id) => document.getElementById(id);
  const make = (name, attributes = {}, parent = null) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (parent) parent.append(node);
    return node;
  };
  const element = (name, parent, text = "", className = "") => {
    const node = document.createElement(name);
    if (text) node.textContent = text;
    if (className) node.className = className;
    parent.append(node);
    return node;
  };
  const swatch = (parent, shape, attributes) => make(shape, attributes, make("svg", { viewBox: "0 0 10 10", class: "swatch" }, parent));

  // ------------------------------------------------------------------------------------------------------ numbers
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  // Coordinates travel as 16-bit integers, 1 / data.unit of the image's width or height.
  const numbers = (text) => {
    const view = new DataView(bytes(text).buffer);
    return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => view.getInt16(2 * i, true) / data.unit);
  };
  const percent = (share) => `${(100 * share).toFixed(0)} %`;
  const largest = (values) => values.reduce((a, b) => Math.max(a, b), 0);
  // A key's values at a position between two steps.
  const blended = (steps, key, position) => {
    const low = Math.floor(position), share = position - low;
    const here = steps[low]?.[key];
    if (!share || !here) return here;
    const there = steps[low + 1][key];
    return here.map((value, i) => value + share * (there[i] - value));
  };

  // --------------------------------------------------------------------------------------------- over the image
  // Something that lies over the image: canvases below, vector graphics above.
  const layer = (name, id) => {
    const node = name === "svg" ? make("svg", { preserveAspectRatio: "none" }) : document.createElement(name);
    node.id = id;
    if (name === "svg") at("view").append(node);
    else at("photo").after(node);
    return node;
  };
  const sizedTo = (longest) => {
    const { width, height } = shown.image, scale = longest / Math.max(width, height);
    return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  };
  const placeBox = (rect, boxes, index) => {
    const { width, height } = shown.image;
    const [x0, y0, x1, y1] = boxes.subarray(4 * index, 4 * index + 4);
    rect.setAttribute("x", Math.min(x0, x1) * width);
    rect.setAttribute("y", Math.min(y0, y1) * height);
    rect.setAttribute("width", Math.abs(x1 - x0) * width);
    rect.setAttribute("height", Math.abs(y1 - y0) * height);
  };
  // Darkens what the model did not see.
  const drawOutside = (svg) => {
    const { width, height, box: [x0, y0, x1, y1] } = shown.image;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    make("path", { class: "outside", "fill-rule": "evenodd", d: `M0 0H${width}V${height}H0ZM${x0} ${y0}H${x1}V${y1}H${x0}Z` }, svg);
  };
  // Where a pixel of a canvas lies in the view that the model saw, as fractions; outside of 0 to 1 beyond it.
  const seenAt = (x, y, canvas) => {
    const { width, height, box: [x0, y0, x1, y1] } = shown.image;
    return [((x + 0.5) * width / canvas.width - x0) / (x1 - x0), ((y + 0.5) * height / canvas.height - y0) / (y1 - y0)];
  };
  // Colours a canvas by shares of the scale, from 0 to 1; `alpha` of a share.
  const paintShares = (canvas, shares, alpha) => {
    const context = canvas.getContext("2d"), pixels = context.createImageData(canvas.width, canvas.height);
    const last = data.scale.length - 1;
    for (let i = 0; i < shares.length; i++) {
      pixels.data.set(data.scale[Math.round(shares[i] * last)], 4 * i);
      pixels.data[4 * i + 3] = 255 * alpha(shares[i]);
    }
    context.putImageData(pixels, 0, 0);
  };
  const paintScale = (canvas) => {
    canvas.width = data.scale.length;
    canvas.height = 1;
    paintShares(canvas, data.scale.map((_, i) => i / (data.scale.length - 1)), () => 1);
  };
  const dimming = new Set();
  const dim = (name, on) => {
    if (on) dimming.add(name);
    else dimming.delete(name);
    document.body.classList.toggle("dim", dimming.size > 0);
  };

  // ----------------------------------------------------------------------------------------------------- entries
  // A list of entries, of which one may be pointed at, or kept by a click; `changed` is called with it, or null.
  const picker = (list, prefix, changed) => {
    const state = { hovered: null, pinned: null };
    const lit = () => state.hovered ?? state.pinned;
    const show = () => {
      document.body.classList.toggle("only", lit() !== null);
      for (const node of list.children) {
        const own = Number(node.dataset.entry);
        node.classList.toggle("lit", own === lit());
        node.setAttribute("aria-selected", String(own === state.pinned));
        if (own === state.pinned) list.setAttribute("aria-activedescendant", node.id);
      }
      if (state.pinned === null) list.removeAttribute("aria-activedescendant");
      changed(lit());
    };
    const hover = (entry) => { if (state.hovered !== entry) { state.hovered = entry; show(); } };
    const pin = (entry) => { state.pinned = state.pinned === entry ? null : entry; show(); };
    return {
      list, lit, show,
      pinned: () => state.pinned,
      keep: (entry) => { state.hovered = null; state.pinned = entry; },
      release: () => { state.hovered = state.pinned = null; show(); },
      add: (entry, className, label) => {
        const node = element("div", list, "", className);
        node.id = `${prefix}-${entry}`;
        node.dataset.entry = entry;
        node.setAttribute("role", "option");
        if (label) node.setAttribute("aria-label", label);
        node.addEventListener("pointerenter", () => hover(entry));
        node.addEventListener("pointerleave", () => hover(null));
        node.addEventListener("click", () => pin(entry));
        return node;
      },
      move: (steps) => {
        const order = [...list.children].map((node) => Number(node.dataset.entry));
        if (!order.length) return;
        const place = order.indexOf(state.pinned), last = order.length - 1;
        state.pinned = order[place < 0 ? (steps > 0 ? 0 : last) : Math.max(0, Math.min(last, place + steps))];
        state.hovered = null;
        show();
        at(`${prefix}-${state.pinned}`).scrollIntoView({ block: "nearest" });
      },
      // Points into the image, too: `found` returns the entry at fractions (x, y) of it in a frame of pixels, or null.
      follow: (found) => {
        const pointed = (event) => {
          const frame = at("view").getBoundingClientRect();
          return found((event.clientX - frame.left) / frame.width, (event.clientY - frame.top) / frame.height, frame);
        };
        at("view").addEventListener("pointermove", (event) => { if (event.pointerType !== "touch") hover(pointed(event)); });
        at("view").addEventListener("pointerleave", () => hover(null));
        at("view").addEventListener("click", (event) => {
          const entry = pointed(event);
          if (entry === null) { state.pinned = null; show(); } else pin(entry);
        });
      },
    };
  };

  // ------------------------------------------------------------------------------------------------------- steps
  const content = (panel) => shown.run.panels[panel.name] ?? null;
  const view = () => panels.find((panel) => panel.steps && content(panel));
  const titles = () => (view() ? view().steps(content(view())) : []);
  // By buttons, slider and play; `position` lies between two steps while the view draws the way between them.
  const way = (() => {
    const STEP_MS = 420, HOLD_MS = 900;
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    const way = { index: 0, position: 0 };
    let gliding = 0, waiting = 0, playing = false;
    const last = () => Math.max(0, titles().length - 1);
    const draw = () => view()?.draw?.(way.position);
    const tell = () => {
      const title = titles()[way.index] ?? "";
      at("caption").textContent = `${title} (${way.index + 1} of ${last() + 1})`;
      at("slider").max = last();
      at("slider").value = way.index;
      at("slider").setAttribute("aria-valuetext", title);
      at("back").disabled = way.index === 0;
      at("next").disabled = way.index === last();
      [...at("strip").children].forEach((node, i) => node.setAttribute("aria-current", String(i === way.index)));
      view()?.arrived?.(way.index);
    };
    const glide = () => {
      cancelAnimationFrame(gliding);
      const from = way.position, to = way.index;
      if (calm.matches || from === to) { way.position = to; draw(); return; }
      // Over several steps at once everything takes the straight way, one step after the other.
      const begun = performance.now(), lasts = STEP_MS * Math.min(2, Math.abs(to - from));
      const step = (now) => {
        const share = Math.min(1, Math.max(0, (now - begun) / lasts));
        way.position = share < 1 ? from + (to - from) * share * share * (3 - 2 * share) : to;
        draw();
        if (share < 1) gliding = requestAnimationFrame(step);
      };
      gliding = requestAnimationFrame(step);
    };
    const move = (index) => {
      way.index = Math.max(0, Math.min(last(), index));
      tell();
      glide();
    };
    const stop = () => {
      playing = false;
      clearTimeout(waiting);
      at("play").textContent = "▶";
      at("play").setAttribute("aria-label", `Play the ${view()?.noun ?? "steps"}`);
    };
    const run = () => {
      move(way.index < last() ? way.index + 1 : 0);
      if (way.index === last()) { stop(); return; }
      waiting = setTimeout(run, view()?.pace?.(content(view())) ?? HOLD_MS + STEP_MS);
    };
    way.toggle = () => {
      if (playing) { stop(); return; }
      playing = true;
      at("play").textContent = "❚❚";
      at("play").setAttribute("aria-label", "Stop playing");
      run();
    };
    way.goTo = (index) => { stop(); move(index); };
    // Without gliding, where something else changed.
    way.begin = (index) => {
      stop();
      cancelAnimationFrame(gliding);
      way.index = way.position = Math.max(0, Math.min(last(), index));
      tell();
      draw();
    };
    return way;
  })();
  const fillStrip = () => {
    at("strip").hidden = !view()?.thumbnail;
    at("strip").replaceChildren();
    if (at("strip").hidden) return;
    titles().forEach((title, i) => {
      const button = element("button", at("strip"));
      button.type = "button";
      view().thumbnail(button, i);
      element("span", button, title);
      button.addEventListener("click", () => way.goTo(i));
    });
  };

  // -------------------------------------------------------------------------------------------- images and runs
  const choose = (number) => {
    shown.number = Math.max(0, Math.min(shown.image.runs.length - 1, number));
    shown.run = shown.image.runs[shown.number];
    const facts = Object.entries(shown.run.facts).filter(([name]) => name !== "result");
    at("facts").textContent = facts.map(([name, text]) => `${name}: ${text}`).join(" · ");
    at("steps").hidden = titles().length < 2;
    for (const node of document.querySelectorAll("[data-panel]")) node.hidden = !shown.run.panels[node.dataset.panel];
    for (const panel of panels) if (content(panel)) panel.opened?.(content(panel));
    fillStrip();
    way.begin(way.index);
  };
  const open = (index) => {
    const image = shown.image = data.images[index];
    shown.run = image.runs[image.start];
    at("view").style.setProperty("--ratio", image.width / image.height);
    document.body.style.setProperty("--dimming", image.dimming);
    at("photo").src = image.image;
    at("photo").alt = `Image ${image.name}`;
    at("name").textContent = image.name;
    [...at("images").children].forEach((node, i) => node.setAttribute("aria-current", String(i === index)));
    for (const panel of panels) panel.picker?.keep(null);
    way.index = view()?.first ? view().first(content(view())) : way.index;
    at("summary").textContent = [image.model, ...panels.flatMap((panel) => (content(panel) && panel.summary?.(content(panel))) || [])].filter(Boolean).join(" · ");
    listKeys();
    choose(image.start);
  };
  const listImages = () => {
    at("images").hidden = data.images.length < 2;
    data.images.forEach((image, i) => {
      const button = element("button", at("images"));
      button.type = "button";
      button.title = image.name;
      const thumbnail = element("img", button);
      thumbnail.src = image.thumbnail;
      thumbnail.alt = "";
      element("span", button, image.caption);
      button.addEventListener("click", () => open(i));
    });
  };
  const listKeys = () => {
    const entries = panels.find((panel) => panel.entries && content(panel))?.entries;
    const lines = [
      titles().length > 1 && [["←", "→"], view().noun], titles().length > 1 && [["space"], "play"],
      shown.image.runs.length > 1 && [["−", "+"], "slider"], entries && [["↑", "↓"], `${entries}, in the list`], entries && [["esc"], `all ${entries}`],
    ].filter(Boolean);
    at("keys").replaceChildren();
    for (const [keys, text] of lines) {
      const line = element("span", at("keys"));
      for (const key of keys) { element("kbd", line, key); line.append(" "); }
      line.append(text);
    }
  };
  // Arrows step, and in a list through its entries; space plays, escape lets go. Arrows that mean something to the
  // control that has the focus are left to it.
  const listen = () => document.addEventListener("keydown", (event) => {
    const pickers = panels.filter((panel) => panel.picker && content(panel)).map((panel) => panel.picker);
    if (event.key === "Escape") { for (const each of pickers) each.release(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=radio], #control")) return;
    const listed = pickers.find((each) => each.list === event.target);
    if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
      event.preventDefault();
      way.goTo(way.index + (event.key === "ArrowRight" ? 1 : -1));
    } else if (listed && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      listed.move(event.key === "ArrowDown" ? 1 : -1);
    } else if (event.key === " " && (event.target === document.body || listed)) {
      event.preventDefault();
      way.toggle();
    } else for (const panel of panels) if (content(panel)) panel.key?.(event.key);
  });
  const start = () => {
    at("back").addEventListener("click", () => way.goTo(way.index - 1));
    at("next").addEventListener("click", () => way.goTo(way.index + 1));
    at("play").addEventListener("click", way.toggle);
    at("slider").addEventListener("input", (event) => way.goTo(Number(event.target.value)));
    at("theme").addEventListener("click", () => {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
    });
    listen();
    listImages();
    open(0);
  };
  const panel = (name, handlers) => { panels.push(Object.assign(handlers, { name })); };
  return {
    data, shown, at, make, element, swatch, bytes, numbers, percent, largest, blended, layer, sizedTo, placeBox, drawOutside, seenAt,
    paintShares, paintScale, dim, picker, way, fillStrip, choose, panel, start,
  };
})();
