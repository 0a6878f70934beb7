"use strict";
// What the pages have in common: the data, elements, the row of pictures, dark and light.
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
  at("theme").addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });
  return { data, at, make, element, bytes, numbers, listPictures, markPicture };
})();
