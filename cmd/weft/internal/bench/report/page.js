"use strict";
// Shows, next to the pointer, the numbers of the nearest row of the table below a plot.
for (const figure of document.querySelectorAll("figure")) {
  const plot = figure.querySelector(".plot");
  const rows = [...figure.querySelectorAll("tr[data-x]")];
  const heads = [...figure.querySelectorAll("thead th")].map((th) => th.textContent);

  // Browsers show an SVG's titles as tooltips, which would cover this one.
  plot.setAttribute("aria-label", plot.querySelector("title").textContent);
  plot.removeAttribute("aria-labelledby");
  plot.querySelectorAll("title").forEach((title) => title.remove());

  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
  cursor.setAttribute("class", "cursor");
  cursor.setAttribute("y1", plot.dataset.top);
  cursor.setAttribute("y2", plot.dataset.bottom);
  const tip = document.createElement("div");
  tip.className = "tip";

  const hide = () => { tip.remove(); cursor.remove(); };
  const show = (event) => {
    const box = plot.getBoundingClientRect();
    const scale = box.width / plot.viewBox.baseVal.width;
    const x = (event.clientX - box.left) / scale;
    let nearest = rows[0];
    for (const row of rows) {
      if (Math.abs(row.dataset.x - x) < Math.abs(nearest.dataset.x - x)) nearest = row;
    }
    cursor.setAttribute("x1", nearest.dataset.x);
    cursor.setAttribute("x2", nearest.dataset.x);
    plot.append(cursor);
    tip.replaceChildren(...[...nearest.cells].map((cell, i) => {
      const line = document.createElement("div");
      const value = document.createElement("b");
      value.textContent = cell.textContent;
      line.append(value, heads[i]);
      return line;
    }));
    figure.append(tip);
    const outer = figure.getBoundingClientRect();
    const at = box.left - outer.left + nearest.dataset.x * scale;
    const left = at + 12 + tip.offsetWidth > figure.clientWidth ? at - 12 - tip.offsetWidth : at + 12;
    tip.style.left = Math.max(left, 0) + "px";
    tip.style.top = box.top - outer.top + 34 * scale + "px";
  };
  plot.addEventListener("pointermove", show);
  plot.addEventListener("pointerdown", show);
  plot.addEventListener("pointerleave", hide);
}
