// One video at a time: what plays it, what is drawn along it, and how one moves in it.
"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const read = (id) => JSON.parse($(id).textContent);
  const labels = new Map(read("labels").map((label, place) => [label, place]));
  const timeline = $("timeline");
  const MOST_CURVES = 6;
  let view = null; // of the video that is shown
  let chosenCurve = null; // the lane whose curves are drawn, if there are many
  let player = null; // what plays it

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const shownTime = (seconds) => {
    const minutes = Math.floor(seconds / 60);
    return `${minutes}:${(seconds - 60 * minutes).toFixed(1).padStart(4, "0")}`;
  };
  // Neighbouring numbers get hues far apart: the golden angle.
  const hue = (label) => ((labels.get(label) ?? 0) * 137.508) % 360;

  // --- what plays ------------------------------------------------------------------------------

  const bytes = (base64) => Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
  let embedded = ""; // address of the bytes that play now

  function choosePlayer(media) {
    const stills = (note) => {
      usePlayer(new StillPlayer(media.pictures, media.picture_times, view.duration, follow));
      $("screen-note").textContent = note;
    };
    // Later: the browser may still be reading the video that is left.
    const left = embedded;
    setTimeout(() => URL.revokeObjectURL(left), 30_000);
    $("screen-note").textContent = media.note;
    if (!media.href && !media.embedded) return stills(media.note);
    embedded = media.embedded
      ? URL.createObjectURL(new Blob([bytes(media.embedded)], { type: media.type }))
      : "";
    const onFailure = () => {
      if (player !== video) return;
      const time = pending ?? 0;
      stills(
        `${media.name} cannot be played here: it is not where the page looks for it, or the ` +
          "browser does not know its format. " +
          (media.pictures.length ? "The page carries these pictures of it." : ""),
      );
      player.time = time;
    };
    const video = new VideoPlayer(embedded || media.href, media.type, {
      onChange: () => player === video && follow(),
      onFailure,
    });
    usePlayer(video);
  }

  function usePlayer(next) {
    player?.pause();
    player = next;
    $("screen").replaceChildren(player.element);
  }

  // --- what is drawn ---------------------------------------------------------------------------

  // Marks that overlap get rows of their own.
  function rowsOf(marks) {
    const ends = [];
    return marks.map((mark) => {
      let row = ends.findIndex((end) => end <= mark.start);
      if (row < 0) row = ends.push(0) - 1;
      ends[row] = Math.max(mark.end, mark.start + 1e-6);
      return row;
    });
  }

  const verdicts = { wrong: "wrong", missed: "missed", right: "right", "": "" };
  const told = (mark) =>
    [
      mark.label,
      `${shownTime(mark.start)} – ${shownTime(mark.end)}`,
      mark.score === null ? "" : `score ${mark.score.toFixed(2)}`,
      verdicts[mark.verdict],
    ]
      .filter(Boolean)
      .join(" · ");

  function laneElement(lane) {
    const marks = [...lane.marks].sort((a, b) => a.start - b.start || a.end - b.end);
    const rows = rowsOf(marks);
    const track = make("div", { className: "track" });
    track.style.setProperty("--rows", Math.min(8, 1 + Math.max(0, ...rows)));
    marks.forEach((mark, place) => {
      const sign = { wrong: "✕ ", missed: "○ " }[mark.verdict] ?? "";
      const button = make("button", {
        type: "button",
        tabIndex: -1,
        className: `mark ${lane.is_text || !labels.has(mark.label) ? "plain" : ""} ${mark.verdict}`,
        title: told(mark),
        textContent: lane.kind === "errors" ? "" : sign + mark.label,
      });
      button.style.setProperty("--from", mark.start / view.duration);
      button.style.setProperty("--length", (mark.end - mark.start) / view.duration);
      button.style.setProperty("--row", Math.min(7, rows[place]));
      button.style.setProperty("--hue", hue(mark.label));
      button.dataset.start = mark.start;
      track.append(button);
    });
    const shortName = lane.name.endsWith(" (annotated)") ? "annotated" : lane.name;
    const name = make("div", { className: "lane-name", textContent: shortName, title: lane.name });
    if (view.curves.some((curve) => curve.name === lane.name) && view.curves.length > MOST_CURVES) {
      name.dataset.curve = lane.name;
      name.title = `${lane.name}: show its curve`;
    }
    return make("div", { className: `lane ${lane.kind}` }, name, track);
  }

  function ticksElement() {
    const ticks = make("div", { className: "ticks" });
    const count = 4 * Math.max(1, Math.round($("stretch").clientWidth / 400));
    for (let place = 0; place <= count; place += 1) {
      const tick = make("span", { textContent: shownTime((view.duration * place) / count) });
      tick.style.left = `${(100 * place) / count}%`;
      ticks.append(tick);
    }
    return make("div", { className: "lane" }, make("div"), ticks);
  }

  // All of them, or those of one query: of many one sees none.
  function shownCurves() {
    if (view.curves.length <= MOST_CURVES) return view.curves;
    const name = chosenCurve ?? view.curves[0].name;
    return view.curves.filter((curve) => [name, `${name} (annotated)`].includes(curve.name));
  }

  function drawCurves() {
    const box = $("curves");
    box.replaceChildren();
    if (!view.curves.length) return;
    const style = getComputedStyle(document.documentElement);
    const isDark = Number.parseFloat(style.getPropertyValue("--mark-l")) < 50;
    const curves = shownCurves();
    const points = curves.flatMap((curve) =>
      curve.percent
        .map((percent, place) => ({ second: view.times[place], percent, name: curve.name }))
        .filter((point) => point.percent !== null),
    );
    const chart = read("curve-chart");
    chart.datasets = { points };
    chart.params.find((one) => one.name === "length").value = view.duration;
    const colours = curves.map(
      (curve, place) =>
        `oklch(${isDark ? 75 : 55}% 0.15 ${labels.has(curve.name) ? hue(curve.name) : place * 137.5})`,
    );
    const names = curves.map((curve) => curve.name);
    chart.encoding.color.scale = { domain: names, range: colours };
    chart.encoding.color.legend.title = view.curve_name;
    box.setAttribute("aria-label", `${view.curve_name} along the video: ${names.join(", ")}`);
    const inside = make("div");
    box.append(inside);
    drawChart(inside, chart);
  }

  // The same as the lanes, for keyboards and screen readers; filled when it is opened.
  function listMarks() {
    const box = $("marks");
    const count = view.lanes.reduce((sum, lane) => sum + lane.marks.length, 0);
    box.querySelector("summary").textContent = `All ${count} marks as a list`;
    const place = box.querySelector("div");
    place.replaceChildren();
    if (!box.open) return;
    const rows = view.lanes.flatMap((lane) =>
      lane.marks.map((mark) => {
        const go = make("button", { type: "button", textContent: shownTime(mark.start) });
        go.dataset.start = mark.start;
        const score = mark.score === null ? "" : mark.score.toFixed(2);
        const cells = [go, shownTime(mark.end), lane.name, mark.label, score, mark.verdict];
        return make("tr", {}, ...cells.map((cell) => make("td", {}, cell)));
      }),
    );
    const heads = ["from", "to", "lane", "what", "score", "verdict"];
    place.append(
      make(
        "table",
        {},
        make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
        make("tbody", {}, ...rows),
      ),
    );
  }

  // --- where one is ----------------------------------------------------------------------------

  let following = 0; // the next frame in which the cursor is moved while the video plays
  let pending = null; // second that was asked for before the video could go there

  function follow() {
    const seconds = player.time;
    if (pending !== null && Math.abs(seconds - pending) < 0.5) pending = null;
    timeline.style.setProperty("--at", Math.min(1, seconds / view.duration));
    $("time").value = seconds;
    const now = view.lanes
      .filter((lane) => lane.kind !== "errors")
      .map((lane) => [lane.name, lane.marks.find((one) => one.start <= seconds && seconds < one.end)])
      .filter(([, mark]) => mark !== undefined);
    const told = now.map(([name, mark]) => `${name}: ${mark.label}`);
    $("time").setAttribute("aria-valuetext", [shownTime(seconds), ...told].join(", "));
    $("now").replaceChildren(
      ...now.flatMap(([name, mark]) => [`${name} `, make("b", { textContent: mark.label }), "\u2003"]),
    );
    $("clock").textContent = `${shownTime(seconds)} / ${shownTime(view.duration)}`;
    $("play").textContent = player.plays ? "Pause" : "Play";
    cancelAnimationFrame(following);
    if (player.plays) {
      scrollToCursor();
      following = requestAnimationFrame(follow);
    }
  }

  function go(seconds) {
    pending = Math.min(Math.max(seconds, 0), view.duration);
    player.time = pending;
    follow();
    scrollToCursor();
  }

  // Keeps the cursor in sight where the time line is longer than the window.
  function scrollToCursor() {
    const inside = timeline.scrollWidth - timeline.clientWidth;
    if (inside > 0) timeline.scrollLeft = inside * Math.min(1, player.time / view.duration);
  }

  function zoom(factor) {
    const now = Number(timeline.style.getPropertyValue("--zoom") || 1);
    const next = Math.min(Math.max(now * factor, 1), 64);
    timeline.style.setProperty("--zoom", next);
    $("lanes").lastElementChild.replaceWith(ticksElement());
    drawCurves();
    scrollToCursor();
  }

  function toggle() {
    if (player.plays) player.pause();
    else player.play();
  }

  function goToMark(direction) {
    const now = player.time;
    const starts = view.lanes.flatMap((lane) => lane.marks.map((mark) => mark.start));
    const beyond = starts.filter((start) => direction * (start - now) > 0.05);
    if (beyond.length) go(direction > 0 ? Math.min(...beyond) : Math.max(...beyond));
  }

  const rows = () => [...$("videos").tBodies[0].rows].filter((row) => !row.hidden);
  const current = () => $("videos").querySelector("tr[aria-current]");

  function open(row) {
    current()?.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
    const scroll = row.closest(".scroll");
    const [box, own] = [scroll.getBoundingClientRect(), row.getBoundingClientRect()];
    if (own.top < box.top + 64 || own.bottom > box.bottom) {
      scroll.scrollTop += own.top - box.top - box.height / 2;
    }
    view = read(`view-${row.dataset.view}`);
    pending = chosenCurve = null;
    $("stage-name").textContent = view.video;
    $("time").max = view.duration;
    choosePlayer(read(`media-${row.dataset.view}`));
    $("lanes").replaceChildren(...view.lanes.map(laneElement), ticksElement());
    drawCurves();
    listMarks();
    follow();
  }

  function step(direction) {
    const shown = rows();
    const next = shown.indexOf(current()) + direction;
    if (shown.length) open(shown[Math.min(Math.max(next, 0), shown.length - 1)]);
  }

  // --- what one does ---------------------------------------------------------------------------

  function goWhere(event) {
    const start = event.target.closest("[data-start]")?.dataset.start;
    if (start !== undefined) return go(Number(start));
    const curve = event.target.closest("[data-curve]")?.dataset.curve;
    if (curve !== undefined) {
      chosenCurve = curve;
      return drawCurves();
    }
    const track = event.target.closest(".track, #curves");
    if (track === null) return undefined;
    const box = track.getBoundingClientRect();
    return go(((event.clientX - box.left) / box.width) * view.duration);
  }

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || view === null) return;
    const isAt = (selector) => event.target.closest?.(selector);
    if (isAt("input:not([type=range]), select, textarea")) return;
    const side = event.shiftKey ? goToMark : (direction) => go(player.time + direction);
    const actions = {
      " ": () => (isAt("button, summary, a") ? false : toggle()),
      ArrowLeft: () => side(-1),
      ArrowRight: () => side(1),
      j: () => step(1),
      k: () => step(-1),
      "+": () => zoom(2),
      "-": () => zoom(0.5),
    };
    const action = actions[event.key];
    if (action !== undefined && action() !== false) event.preventDefault();
  }

  $("videos").tBodies[0].addEventListener("click", (event) => open(event.target.closest("tr")));
  timeline.addEventListener("click", goWhere);
  $("marks").addEventListener("click", (event) => event.target.dataset.start && goWhere(event));
  $("marks").addEventListener("toggle", listMarks);
  $("time").addEventListener("input", () => go(Number($("time").value)));
  $("play").addEventListener("click", toggle);
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("wider").addEventListener("click", () => zoom(2));
  $("narrower").addEventListener("click", () => zoom(0.5));
  document.addEventListener("keydown", onKey);
  document.addEventListener("themechange", () => view !== null && drawCurves());
  const [first] = rows();
  if (first !== undefined) open(first);
})();
