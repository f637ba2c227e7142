"use strict";
(() => {
  const given = JSON.parse(document.getElementById("time-courses").textContent);
  const canvas = document.getElementById("viewer-canvas");
  const choice = document.getElementById("viewer-subject");
  const place = document.getElementById("viewer-place");
  const words = document.getElementById("viewer-words");
  const pen = canvas.getContext("2d");
  const MISSING = 255, FULL = 254, TOP = 46, BOTTOM = 34, LEFT = 4, FEWEST_BINS = 8;
  const decoded = new Map();
  let subject = null, values = null, nBins = 0, from = 0, to = 1;

  function valuesOf(one) {
    if (!decoded.has(one.name)) {
      decoded.set(one.name, Uint8Array.from(atob(one.values), (letter) => letter.charCodeAt(0)));
    }
    return decoded.get(one.name);
  }

  function choose(number) {
    subject = given.subjects[number];
    values = valuesOf(subject);
    nBins = values.length / given.components.length;
    from = 0;
    to = nBins;
    draw();
  }

  function show(start, length) {
    const bins = Math.min(nBins, Math.max(Math.min(FEWEST_BINS, nBins), length));
    from = Math.min(Math.max(0, start), nBins - bins);
    to = from + bins;
    draw();
  }

  function zoom(factor, centre) {
    const middle = centre === undefined ? (from + to) / 2 : centre;
    show(middle - (middle - from) * factor, (to - from) * factor);
  }

  const actions = {
    left: () => show(from - (to - from) / 4, to - from),
    right: () => show(from + (to - from) / 4, to - from),
    in: () => zoom(0.5),
    out: () => zoom(2),
    all: () => show(0, nBins),
    first: () => show(0, to - from),
    last: () => show(nBins, to - from),
  };
  const keys = {
    ArrowLeft: "left", ArrowRight: "right", "+": "in", "=": "in", "-": "out", "0": "all", Home: "first", End: "last",
  };

  function inTime(bin) {
    return Math.min(bin * subject.step, subject.length);
  }

  function said(time, span) {
    if (subject.unit !== "s") return String(Math.round(time));
    if (span < 10) return time.toFixed(2) + " s";
    if (span < 300) return time.toFixed(0) + " s";
    const minutes = Math.floor(time / 60), seconds = Math.round(time - 60 * minutes);
    return minutes + ":" + String(seconds).padStart(2, "0") + " min";
  }

  function drawColumns(boxWidth, boxHeight, scale) {
    // In whole pixels of the screen: columns between two of them would show seams.
    const width = Math.floor(boxWidth * scale), height = boxHeight * scale, left = Math.round(LEFT * scale);
    const K = given.components.length, perPixel = (to - from) / width;
    const sums = new Float64Array(K);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    for (let x = 0; x < width; x++) {
      const first = Math.floor(from + x * perPixel);
      const last = Math.max(first + 1, Math.floor(from + (x + 1) * perPixel));
      let count = 0;
      sums.fill(0);
      for (let bin = first; bin < last && bin < nBins; bin++) {
        if (values[bin * K] === MISSING) continue;
        count++;
        for (let k = 0; k < K; k++) sums[k] += values[bin * K + k];
      }
      if (!count) continue;
      let top = TOP * scale;
      for (let k = 0; k < K; k++) {
        const share = sums[k] / count / FULL * height;
        pen.fillStyle = given.colours[k];
        pen.fillRect(left + x, Math.round(top), 1, Math.round(top + share) - Math.round(top));
        top += share;
      }
    }
    pen.setTransform(scale, 0, 0, scale, 0, 0);
  }

  function drawEvents(width, height) {
    const events = subject.events;
    if (!events) return;
    const begin = inTime(from), span = inTime(to) - begin;
    const labels = [];
    let free = 0, nSeen = 0;
    pen.textBaseline = "alphabetic";
    pen.textAlign = "left";
    for (let e = 0; e < events.onset.length; e++) {
      const left = (events.onset[e] - begin) / span * width;
      const wide = Math.max(1, events.duration[e] / span * width);
      if (left + wide < 0 || left > width) continue;
      const seenLeft = LEFT + Math.max(left, 0), seenWide = Math.min(left + wide, width) - Math.max(left, 0);
      pen.fillStyle = e % 2 ? "#bdbdbd" : "#8f8f8f";
      pen.fillRect(seenLeft, TOP - 12, Math.max(seenWide, 1), 8);
      pen.fillStyle = "rgb(0 0 0 / 35%)";
      if (wide > 3) pen.fillRect(LEFT + left, TOP - 12, 1, height + 12);
      const name = events.label[e] < 0 ? "" : events.names[events.label[e]];
      const length = pen.measureText(name).width;
      const next = e + 1 < events.onset.length ? (events.onset[e + 1] - begin) / span * width : width;
      nSeen++;
      const room = Math.min(Math.max(next, left + wide), width) - Math.max(left, 0);
      if (name && length < room - 2 && seenLeft >= free) {
        labels.push([name, seenLeft]);
        free = seenLeft + length + 6;
      }
    }
    // A name here and there would look as if the other events had none.
    if (2 * labels.length < nSeen) return;
    pen.fillStyle = "#222";
    for (const [name, left] of labels) pen.fillText(name, left, TOP - 17);
  }

  function drawAxis(width, height) {
    const begin = inTime(from), span = inTime(to) - begin, n = width < 500 ? 3 : 6;
    pen.strokeStyle = "#555";
    pen.strokeRect(LEFT, TOP, width, height);
    pen.fillStyle = "#222";
    pen.textBaseline = "top";
    for (let tick = 0; tick <= n; tick++) {
      const x = LEFT + width * tick / n;
      pen.fillRect(Math.min(x, LEFT + width - 1), TOP + height, 1, 5);
      pen.textAlign = tick === 0 ? "left" : tick === n ? "right" : "center";
      pen.fillText(said(begin + span * tick / n, span), x, TOP + height + 8);
    }
    pen.textAlign = "left";
  }

  function draw() {
    const scale = window.devicePixelRatio || 1, box = canvas.getBoundingClientRect();
    if (!box.width) return;
    canvas.width = Math.round(box.width * scale);
    canvas.height = Math.round(box.height * scale);
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, box.width, box.height);
    pen.font = "12px system-ui, sans-serif";
    const width = Math.floor(box.width - 2 * LEFT), height = box.height - TOP - BOTTOM;
    drawColumns(width, height, scale);
    drawEvents(width, height);
    drawAxis(width, height);
    place.disabled = to - from >= nBins;
    place.value = nBins > to - from ? Math.round(1000 * from / (nBins - (to - from))) : 0;
    words.textContent = describe();
  }

  function describe() {
    const K = given.components.length, begin = inTime(from), end = inTime(to), sums = new Float64Array(K);
    let count = 0;
    for (let bin = Math.floor(from); bin < Math.min(Math.ceil(to), nBins); bin++) {
      if (values[bin * K] === MISSING) continue;
      count++;
      for (let k = 0; k < K; k++) sums[k] += values[bin * K + k] / FULL;
    }
    const shown = subject.name + ", " + said(begin, end - begin) + " to " + said(end, end - begin);
    if (!count) return shown + ": nothing was observed.";
    const shares = given.components.map((name, k) => [name, sums[k] / count]);
    shares.sort((one, other) => other[1] - one[1]);
    const most = shares.slice(0, 3).map(([name, share]) => name + " " + (100 * share).toFixed(0) + " %");
    return shown + ": " + most.join(", ") + (K > 3 ? ", .." : "") + ".";
  }

  given.subjects.forEach((one, number) => {
    choice.add(new Option(one.name + " (" + one.subset + ")", String(number)));
  });
  choice.addEventListener("change", () => choose(Number(choice.value)));
  document.querySelectorAll("#viewer [data-do]").forEach((button) => {
    button.addEventListener("click", () => actions[button.dataset.do]());
  });
  place.addEventListener("input", () => show(place.value / 1000 * (nBins - (to - from)), to - from));
  canvas.addEventListener("keydown", (event) => {
    const action = keys[event.key];
    if (!action || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    actions[action]();
  });
  let dragged = null;
  canvas.addEventListener("pointerdown", (event) => {
    dragged = { x: event.clientX, from: from };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (dragged === null) return;
    show(dragged.from - (event.clientX - dragged.x) / canvas.clientWidth * (to - from), to - from);
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { dragged = null; });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    const at = from + (event.offsetX - LEFT) / canvas.clientWidth * (to - from);
    zoom((event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8, at);
  }, { passive: false });
  window.addEventListener("resize", draw);
  choose(0);
})();
