// Plots: each is drawn when it comes into view, in the colours of the page.
"use strict";
const drawChart = (() => {
  const colour = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

  function config() {
    const ink = colour("--ink");
    const line = colour("--line");
    const axis = { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line };
    const text = { font: "system-ui, sans-serif" };
    return {
      background: "transparent",
      axis: { ...axis, tickColor: line, labelFont: text.font, titleFont: text.font },
      legend: { labelColor: ink, titleColor: ink, labelFont: text.font, titleFont: text.font },
      header: { labelColor: ink, titleColor: ink },
      title: { color: ink, font: text.font },
      view: { stroke: "transparent" },
    };
  }

  // The interpreter (ast) evaluates expressions without eval, which the page's policy forbids.
  return (box, specification) =>
    window.vegaEmbed(box, specification, {
      actions: false,
      ast: true,
      renderer: "svg",
      config: config(),
      tooltip: { theme: "custom" },
    });
})();

(() => {
  const drawn = new Set();

  function draw(box) {
    drawn.add(box);
    drawChart(box, JSON.parse(box.nextElementSibling.textContent));
  }

  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (entry.isIntersecting) {
          watcher.unobserve(entry.target);
          draw(entry.target);
        }
      }
    },
    { rootMargin: "300px" },
  );
  for (const box of document.querySelectorAll("[data-chart]")) watcher.observe(box);
  document.addEventListener("themechange", () => drawn.forEach(draw));
})();
