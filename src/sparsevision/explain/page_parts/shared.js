"use strict";
// What the pages have in common: the data, elements, the row of pictures, steps to walk through, dark and light.
const page = (() => {
  const SVG = "http://www.w3.org/2000/svg";
  const data = JSON.parse(document.getElementById("data").textContent);
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
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  // Coordinates travel as 16-bit integers, 1 / data.unit of the picture's width or height.
  const numbers = (text) => {
    const view = new DataView(bytes(text).buffer);
    return Float32Array.from({ length: view.byteLength / 2 }, (_, i) => view.getInt16(2 * i, true) / data.unit);
  };
  const listPictures = (caption, open) => {
    at("pictures").hidden = data.pictures.length < 2;
    data.pictures.forEach((picture, i) => {
      const button = element("button", at("pictures"));
      button.type = "button";
      button.title = picture.name;
      const image = element("img", button);
      image.src = picture.thumbnail;
      image.alt = "";
      element("span", button, caption(picture));
      button.addEventListener("click", () => open(i));
    });
  };
  const markPicture = (index) => {
    [...at("pictures").children].forEach((node, i) => node.setAttribute("aria-current", String(i === index)));
  };
  const showPicture = (picture, index) => {
    at("view").style.setProperty("--ratio", picture.width / picture.height);
    document.body.style.setProperty("--dimming", picture.dimming);
    at("photo").src = picture.image;
    at("photo").alt = `Picture ${picture.name}`;
    at("name").textContent = picture.name;
    markPicture(index);
  };
  const paintScale = () => {
    at("scale").width = data.scale.length;
    const context = at("scale").getContext("2d");
    data.scale.forEach(([r, g, b], i) => { context.fillStyle = `rgb(${r} ${g} ${b})`; context.fillRect(i, 0, 1, 1); });
  };
  // Steps through what `titles()` lists (`noun` names it): by buttons, slider and play. `position` lies between two steps
  // while `draw` draws the way from one to the other; `arrived` hears of each step as it begins.
  const walk = (noun, titles, draw, arrived = () => {}) => {
    const STEP_MS = 420, HOLD_MS = 900;
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    const way = { index: 0, position: 0 };
    let gliding = 0, waiting = 0, playing = false;
    const last = () => titles().length - 1;
    const tell = () => {
      const title = titles()[way.index];
      at("caption").textContent = `${title} (${way.index + 1} of ${last() + 1})`;
      at("slider").max = last();
      at("slider").value = way.index;
      at("slider").setAttribute("aria-valuetext", title);
      at("back").disabled = way.index === 0;
      at("next").disabled = way.index === last();
      arrived();
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
      at("play").setAttribute("aria-label", `Play the ${noun}`);
    };
    const run = () => {
      move(way.index < last() ? way.index + 1 : 0);
      if (way.index === last()) { stop(); return; }
      waiting = setTimeout(run, HOLD_MS + STEP_MS);
    };
    way.toggle = () => {
      if (playing) { stop(); return; }
      playing = true;
      at("play").textContent = "❚❚";
      at("play").setAttribute("aria-label", "Stop playing");
      run();
    };
    way.goTo = (index) => { stop(); move(index); };
    // Without gliding, for something else to step through; nothing is drawn.
    way.begin = (index) => {
      stop();
      cancelAnimationFrame(gliding);
      way.index = way.position = Math.max(0, Math.min(last(), index));
      tell();
    };
    at("back").addEventListener("click", () => way.goTo(way.index - 1));
    at("next").addEventListener("click", () => way.goTo(way.index + 1));
    at("play").addEventListener("click", way.toggle);
    at("slider").addEventListener("input", (event) => way.goTo(Number(event.target.value)));
    return way;
  };
  // The keyboard: arrows step through `way`, and in the list through its entries (`move`); space plays, escape lets go
  // (`release`). Arrows that mean something to the control that has the focus are left to it.
  const listen = (way, list, { move, release, other = () => {} }) => {
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { release(); return; }
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input[type=radio], #control")) return;
      const listed = event.target === list;
      if (event.key === "ArrowRight" || event.key === "ArrowLeft") {
        event.preventDefault();
        way.goTo(way.index + (event.key === "ArrowRight" ? 1 : -1));
      } else if (listed && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
        event.preventDefault();
        move(event.key === "ArrowDown" ? 1 : -1);
      } else if (event.key === " " && (event.target === document.body || listed)) {
        event.preventDefault();
        way.toggle();
      } else other(event.key);
    });
  };
  const listClasses = (classes) => {
    at("classes").replaceChildren();
    for (const [label, score] of classes) {
      const row = element("li", at("classes"));
      element("span", row, label, "label");
      element("span", row, score.toFixed(2), "score");
      const meter = element("meter", row);
      meter.value = score;
      meter.setAttribute("aria-hidden", "true");
    }
  };
  at("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  return { data, at, make, element, bytes, numbers, listPictures, listClasses, showPicture, paintScale, walk, listen };
})();
