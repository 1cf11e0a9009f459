"use strict";
(() => {
  // The large images and the rotation figures stand in the page once; everything else shows copies.
  const fill = (slot) => {
    const image = document.getElementById(slot.dataset.copy);
    if (!image || slot.firstChild) return;
    const copy = image.cloneNode();
    copy.removeAttribute("id");
    copy.removeAttribute("class");
    slot.append(copy);
  };
  document.querySelectorAll(".shot[data-copy]").forEach((slot) => {
    fill(slot);
    if (slot.firstChild) slot.firstChild.alt = "";
  });

  let list = [], opener = null;
  const show = (button) => {
    const dialog = document.getElementById(button.dataset.dialog);
    dialog.querySelectorAll(".figure-copy").forEach(fill);
    opener = button;
    dialog.showModal();
    dialog.scrollTop = 0;
  };
  const step = (dialog, by) => {
    const at = list.indexOf(opener);
    const next = list[(at + by + list.length) % list.length];
    dialog.close();
    show(next);
    next.scrollIntoView({ block: "nearest" });
  };
  document.querySelectorAll("button.source").forEach((button) => button.addEventListener("click", () => {
    list = [...document.querySelectorAll("button.source")].filter((b) => b.dataset.list === button.dataset.list);
    show(button);
  }));
  document.querySelectorAll("dialog").forEach((dialog) => {
    dialog.addEventListener("close", () => opener && opener.focus());
    dialog.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (event.target === dialog || (button && button.classList.contains("close"))) dialog.close();
      else if (button && button.dataset.step) step(dialog, Number(button.dataset.step));
    });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowLeft") step(dialog, -1);
      if (event.key === "ArrowRight") step(dialog, 1);
    });
  });

  // What is folded up on the screen is printed all the same.
  let folded = [];
  addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("details:not([open])")];
    folded.forEach((one) => { one.open = true; });
  });
  addEventListener("afterprint", () => folded.forEach((one) => { one.open = false; }));
  const unfold = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    const details = target && target.closest("details");
    if (details) { details.open = true; target.scrollIntoView(); }
  };
  addEventListener("hashchange", unfold);

  const make = (kind, parent) => {
    const element = document.createElement("div");
    element.className = kind;
    element.hidden = true;
    parent.append(element);
    return element;
  };
  const short = (value) => String(Number(value.toPrecision(4)));
  const ticks = (low, high, log) => {
    const values = [];
    if (log && high - low < 1) return ticks(10 ** low, 10 ** high, false).map(([v, text]) => [Math.log10(v), text]);
    if (log) {
      for (let k = Math.floor(low); k <= Math.ceil(high); k++) {
        for (const m of high - low < 3 ? [1, 2, 5] : [1]) values.push(Math.log10(m * 10 ** k));
      }
      return values.filter((v) => v >= low && v <= high).map((v) => [v, short(10 ** v)]);
    }
    const rough = (high - low) / 5, power = 10 ** Math.floor(Math.log10(rough));
    const size = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.8);
    for (let k = Math.ceil(low / size); k * size <= high; k++) values.push(k * size);
    return values.map((v) => [v, String(Number(v.toPrecision(6)))]);
  };

  document.querySelectorAll(".plot").forEach((plot) => {
    const svg = plot.querySelector("svg.area"), log = plot.dataset.log === "1", square = plot.classList.contains("square");
    const whole = svg.getAttribute("viewBox").split(" ").map(Number);
    let view = whole;
    const series = [...plot.querySelectorAll(".series:not(.bars, .band, .whiskers)")].map((path) => ({
      path,
      label: path.dataset.label,
      points: [...path.getAttribute("d").matchAll(/[ML]([-\d.e+]+) ([-\d.e+]+)/g)].map((m) => [Number(m[1]), Number(m[2])]),
    })).filter((one) => one.points.length);
    if (!series.length) return;
    plot.classList.add("live");
    plot.tabIndex = 0;
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-label", svg.getAttribute("aria-label") + " Arrow keys read values, plus and minus zoom.");
    const cursor = make("cursor", plot), brush = make("brush", plot), tip = make("tip", plot);
    tip.setAttribute("aria-live", "polite");
    const reset = document.createElement("button");
    reset.type = "button";
    reset.textContent = "show all";
    reset.hidden = true;
    plot.parentElement.querySelector(".under").prepend(reset);
    const xs = [...new Set(series.flatMap((one) => one.points.map((p) => p[0])))].sort((a, b) => a - b);
    let at = -1;

    const left = (x) => 100 * (x - view[0]) / view[2];
    const place = (kind, side, from, to, isLog) => {
      const box = plot.querySelector("." + kind + ".ticks");
      box.replaceChildren(...ticks(from, to, isLog).map(([v, text]) => {
        const span = document.createElement("span"), label = document.createElement("i");
        span.style[side] = 100 * (v - from) / (to - from) + "%";
        label.textContent = text;
        span.append(label);
        return span;
      }));
    };
    const look = (next) => {
      view = next;
      svg.setAttribute("viewBox", view.join(" "));
      place("x", "left", view[0], view[0] + view[2], false);
      place("y", "bottom", -view[1] - view[3], -view[1], log);
      const label = plot.querySelector(".mark-label");
      if (label) {
        const where = left(Number(label.dataset.at));
        label.style.left = where + "%";
        label.classList.toggle("left", where > 60);
        label.hidden = where < 0 || where > 100;
      }
      reset.hidden = view === whole;
      cursor.hidden = tip.hidden = true;
    };
    const zoom = (from, to) => {
      from = Math.max(from, whole[0]);
      to = Math.min(to, whole[0] + whole[2]);
      const inside = series.flatMap((one) => one.points.filter((p) => p[0] >= from && p[0] <= to).map((p) => p[1]));
      if (to - from >= whole[2] * 0.999) return look(whole);
      if (inside.length < 2 || to - from <= 0) return;
      let top = Math.min(...inside), bottom = Math.max(...inside);
      const margin = 0.06 * (bottom - top) || 0.5;
      if (square) [top, bottom] = [Math.max(top, whole[1]), Math.min(bottom, whole[1] + whole[3])];
      look([from, top - margin, to - from, bottom - top + 2 * margin]);
    };
    const read = (x) => {
      const rows = series.map((one) => {
        const near = one.points.reduce((a, b) => (Math.abs(b[0] - x) < Math.abs(a[0] - x) ? b : a));
        return [one, near];
      }).filter(([, near]) => square || Math.abs(near[0] - x) <= whole[2] / 50 + 1e-9);
      tip.replaceChildren();
      const head = document.createElement("strong");
      head.textContent = plot.dataset.x.split(" (")[0] + " " + short(x);
      tip.append(head);
      for (const [one, near] of rows) {
        const line = document.createElement("div");
        const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
        swatch.setAttribute("viewBox", "0 -6 22 12");
        swatch.setAttribute("class", "swatch " + [...one.path.classList].filter((c) => c !== "series").join(" "));
        const stroke = document.createElementNS("http://www.w3.org/2000/svg", "path");
        stroke.setAttribute("d", one.path.classList.contains("dots") ? "M11 0h0" : "M1 0h20");
        swatch.append(stroke);
        line.append(swatch, one.label + " " + short(log ? 10 ** -near[1] : -near[1]));
        tip.append(line);
      }
      const where = left(x);
      cursor.style.left = where + "%";
      tip.style.left = where > 55 ? "auto" : `calc(${where}% + .6rem)`;
      tip.style.right = where > 55 ? `calc(${100 - where}% + .6rem)` : "auto";
      cursor.hidden = tip.hidden = where < -0.01 || where > 100.01;
    };
    const share = (event) => {
      const box = svg.getBoundingClientRect();
      return Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    };
    const nearest = (x) => xs.reduce((a, b) => (Math.abs(b - x) < Math.abs(a - x) ? b : a));

    let start = null;
    plot.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      start = share(event);
      plot.setPointerCapture(event.pointerId);
    });
    plot.addEventListener("pointermove", (event) => {
      const now = share(event);
      if (start !== null && Math.abs(now - start) > 0.01) {
        brush.hidden = false;
        brush.style.left = 100 * Math.min(start, now) + "%";
        brush.style.width = 100 * Math.abs(now - start) + "%";
      }
      const x = nearest(view[0] + now * view[2]);
      at = xs.indexOf(x);
      read(x);
    });
    plot.addEventListener("pointerup", (event) => {
      const now = share(event);
      if (start !== null && Math.abs(now - start) > 0.02) {
        const ends = [start, now].sort((a, b) => a - b).map((s) => view[0] + s * view[2]);
        zoom(ends[0], ends[1]);
      }
      start = null;
      brush.hidden = true;
    });
    plot.addEventListener("pointercancel", () => { start = null; brush.hidden = true; });
    plot.addEventListener("pointerleave", () => { cursor.hidden = tip.hidden = true; });
    plot.addEventListener("blur", () => { cursor.hidden = tip.hidden = true; });
    plot.addEventListener("dblclick", () => look(whole));
    reset.addEventListener("click", () => look(whole));
    plot.addEventListener("keydown", (event) => {
      const middle = at >= 0 ? xs[at] : view[0] + view[2] / 2;
      const moves = { ArrowLeft: -1, ArrowRight: 1 };
      if (event.key in moves) {
        at = Math.min(xs.length - 1, Math.max(0, (at < 0 ? xs.indexOf(nearest(middle)) : at) + moves[event.key]));
        read(xs[at]);
      } else if (event.key === "+" || event.key === "=") zoom(middle - view[2] / 4, middle + view[2] / 4);
      else if (event.key === "-") zoom(middle - view[2], middle + view[2]);
      else if (event.key === "Escape") look(whole);
      else return;
      event.preventDefault();
    });
  });
})();
