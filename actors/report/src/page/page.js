"use strict";
// Shows and hides arms by the legend, filters completions, and shows the values of a plot under the pointer. The page is
// complete without scripts.
const svgNode = (name, attributes) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  return node;
};

for (const box of document.querySelectorAll(".legend input")) {
  const show = () => {
    for (const series of document.querySelectorAll("[data-by-arm] .series"))
      if (series.dataset.label === box.dataset.arm) series.classList.toggle("off", !box.checked);
  };
  box.addEventListener("change", show);
  show();
}

const filters = [...document.querySelectorAll("[data-filter]")];
const applyFilters = () => {
  for (const card of document.querySelectorAll(".completion"))
    card.hidden = filters.some((filter) => filter.value && card.dataset[filter.dataset.filter] !== filter.value);
};
for (const filter of filters) filter.addEventListener("change", applyFilters);
applyFilters();

const tip = document.getElementById("tip");
const nearest = (points, step) =>
  points.reduce((best, point) => (Math.abs(point[0] - step) < Math.abs(best[0] - step) ? point : best));

for (const plot of document.querySelectorAll("svg.lines")) {
  const [firstStep, lastStep, left, right] = plot.dataset.x.split(" ").map(Number);
  const [low, high, bottom, top] = plot.dataset.y.split(" ").map(Number);
  const cursor = plot.querySelector(".cursor");
  const lines = [...plot.querySelectorAll(".series[data-points]")].map((series) => ({
    series,
    name: series.dataset.label,
    style: [...series.classList].filter((name) => name !== "series" && name !== "off"),
    points: series.dataset.points.split(" ").map((point) => point.split(":").map(Number)),
  }));
  const hide = () => {
    tip.hidden = true;
    cursor.replaceChildren();
  };
  plot.addEventListener("pointerleave", hide);
  plot.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
    const shown = lines.filter((line) => !line.series.classList.contains("off"));
    if (x < left - 6 || x > right + 6 || shown.length === 0) return hide();
    const step = firstStep + ((x - left) / (right - left)) * (lastStep - firstStep);
    const at = Math.min(Math.max(x, left), right);
    cursor.replaceChildren(svgNode("path", { d: `M${at} ${top}V${bottom}` }));
    const heading = document.createElement("div");
    heading.append(`step ${Math.round(Math.min(Math.max(step, firstStep), lastStep))}`);
    const rows = shown
      .map((line) => ({ line, value: nearest(line.points, step)[1] }))
      .sort((a, b) => b.value - a.value)
      .map(({ line, value }) => {
        const height = bottom + ((value - low) / (high - low)) * (top - bottom);
        const dot = svgNode("circle", { cx: at, cy: Math.min(Math.max(height, top), bottom), r: 3.4, class: "dot" });
        const group = svgNode("g", { class: line.style.join(" ") });
        group.append(dot);
        cursor.append(group);
        const row = document.createElement("div");
        const name = document.createElement("span");
        const swatch = document.createElement("i");
        swatch.className = ["swatch", ...line.style].join(" ");
        name.append(swatch, line.name);
        const number = document.createElement("b");
        number.append(Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(3));
        row.append(name, number);
        return row;
      });
    tip.replaceChildren(heading, ...rows);
    tip.hidden = false;
    const space = tip.getBoundingClientRect();
    const toRight = event.clientX + 16 + space.width < innerWidth;
    tip.style.left = `${toRight ? event.clientX + 16 : Math.max(4, event.clientX - 16 - space.width)}px`;
    tip.style.top = `${Math.max(4, Math.min(event.clientY + 14, innerHeight - space.height - 4))}px`;
  });
}
