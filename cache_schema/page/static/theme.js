// The colours of the page: the system's, or what the reader chooses.
"use strict";
(() => {
  const names = { auto: "as the system", light: "light", dark: "dark" };
  const order = Object.keys(names);
  const button = document.getElementById("theme");
  const kept = (() => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // a browser may forbid it to files
    }
  })();

  function show(theme) {
    document.documentElement.dataset.theme = theme;
    button.setAttribute("aria-label", `Colours: ${names[theme]}`);
    button.title = `Colours: ${names[theme]}`;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // then it holds until the page is closed
    }
    document.dispatchEvent(new CustomEvent("themechange"));
  }

  button.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme;
    show(order[(order.indexOf(now) + 1) % order.length]);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () =>
    document.dispatchEvent(new CustomEvent("themechange")),
  );
  show(order.includes(kept) ? kept : "auto");
})();
