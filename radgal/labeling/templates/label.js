"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const STRETCHES = ["linear", "sqrt", "log", "asinh"];
  const ZOOMS = [1, 2, 4, 8], AROUND = 1.16; // so much more than the frame is shown around it
  const image = $("image"), viewport = $("viewport"), frame = $("frame");
  const name = () => Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
  const window_ = sessionStorage.getItem("window") || name();
  sessionStorage.setItem("window", window_);
  let classes = [], view = null, busy = true, early = false;
  let zoom = "frame"; // or a number: times the size at which the whole image is seen
  let stretch = sessionStorage.getItem("stretch") || "sqrt";

  const say = (text, wrong = false, of = "") => {
    $("state").textContent = text;
    if (of) {
      const name = document.createElement("span");
      name.className = "small of";
      name.textContent = name.title = of;
      $("state").append(name);
    }
    $("state").classList.toggle("wrong", wrong);
  };

  // Nothing is shown before what was asked for is on disk; and what is pressed meanwhile counts for nothing, since it
  // would answer an image that nobody has seen.
  const ask = async (action, more = {}) => {
    let reply, content;
    try {
      reply = await fetch(action, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ window: window_, ...more }),
      });
      content = await reply.json();
    } catch (error) {
      say("Not saved: the program does not answer. Is it still running? What was saved before is safe.", true);
      return null;
    }
    if (content.progress) tell(content.progress);
    if (reply.ok) return content;
    if (content.view) await show(content.view);
    say(`Not saved: ${content.message}`, true);
    return null;
  };

  const doing = async (what) => {
    if (busy) {
      early = true;
      return;
    }
    busy = true;
    early = false;
    try {
      await what();
    } finally {
      busy = false;
      document.body.dataset.ready = String(Number(document.body.dataset.ready || 0) + 1);
    }
  };

  const tell = (progress) => {
    $("bar").max = Math.max(1, progress.all);
    $("bar").value = progress.done;
    $("progress").textContent = `${progress.done} of ${progress.all} answered`;
    const parts = Object.entries(progress.classes).map(([key, n]) => `${key} ${n}`);
    parts.push(`unsure ${progress.unsure}`);
    if (progress.others) parts.push(`other classes ${progress.others}`);
    $("counts").textContent = parts.join(", ");
  };

  const load = (row) => new Promise((done) => {
    viewport.classList.remove("failed");
    image.hidden = false;
    image.onload = () => done(true);
    image.onerror = () => done(false);
    image.src = `image/${row}/${stretch}.png`;
  });

  const opinion = () => {
    const box = $("opinion");
    box.replaceChildren();
    box.hidden = !view || !view.opinion;
    if (box.hidden) return;
    const head = document.createElement("p");
    head.className = "small";
    head.textContent = `What the network says (entropy ${view.entropy} nats)`;
    box.append(head);
    for (const one of view.opinion) {
      const line = document.createElement("div");
      line.className = "line";
      const [label, meter, share] = ["span", "meter", "span"].map((kind) => document.createElement(kind));
      label.textContent = one.name;
      meter.max = 100;
      meter.value = one.percent;
      meter.setAttribute("aria-hidden", "true");
      share.textContent = `${one.percent.toFixed(1)} %`;
      line.append(label, meter, share);
      box.append(line);
    }
  };

  const show = async (next) => {
    view = next;
    for (const button of $("answers").children) {
      button.setAttribute("aria-pressed", String(Boolean(view) && view.label === button.dataset.label));
      button.disabled = !view || (Boolean(view.error) && button.dataset.label !== "");
    }
    opinion();
    if (!view) {
      $("name").textContent = "All images are answered";
      $("facts").textContent = "";
      image.hidden = true;
      image.removeAttribute("src");
      image.alt = "";
      place();
      say("Done. Look back with ←, or end the program with Ctrl-C in its window.");
      return;
    }
    $("name").textContent = view.name;
    $("facts").textContent = [view.position, view.size].filter(Boolean).join(" · ");
    image.alt = `radio image of ${view.name}`;
    say("The picture is loading.");
    place();
    if (view.error || !(await load(view.row))) {
      image.hidden = true;
      viewport.classList.add("failed");
      say(`${view.error || "the image cannot be shown"}: 0 goes on`, true);
    } else if (view.label === null) {
      say("");
    } else {
      say(`${view.label || "unsure"} (${view.by})`);
    }
    if (view.then !== undefined && view.then !== null) new Image().src = `image/${view.then}/${stretch}.png`;
  };

  const answer = (label) => doing(async () => {
    if (!view || (view.error && label)) return;
    const content = await ask("answer", { row: view.row, label, seen: view.line });
    if (!content) return;
    const name = view.name;
    await show(content.view);
    if (!content.view || content.view.error) return;
    const saved = `saved: ${label || "unsure"}`;
    say(early ? `${saved}. What was pressed before this picture was there does not count: press again.` : saved, early, name);
  });
  const undo = () => doing(async () => {
    const content = await ask("undo");
    if (!content) return;
    if (!content.view) return say("There is nothing to undo.");
    await show(content.view);
    say("undone: answer again");
  });
  const look = (step) => doing(async () => {
    const content = await ask("look", { row: view ? view.row : null, step });
    if (!content) return;
    if (content.view) return show(content.view);
    const next = await ask("next");
    if (next) await show(next.view);
  });

  const setStretch = (to) => doing(async () => {
    stretch = to;
    sessionStorage.setItem("stretch", to);
    press();
    if (view && !view.error) await load(view.row);
  });
  // The frame is what a network reads of an image that is larger. It fills the view at first, since what lies outside
  // decides nothing.
  const times = (of) => (of === "frame" ? (view && view.field ? Math.max(1, Math.max(view.width, view.height) / (AROUND * view.field)) : 1) : of);
  const place = () => {
    const there = Boolean(view && view.field && !view.error), factor = times(zoom);
    frame.hidden = !there;
    if (there) {
      const side = Math.max(view.width, view.height);
      const [width, height] = [view.width, view.height].map((one) => (100 * Math.min(one, view.field)) / side);
      Object.assign(frame.style, { width: `${width}%`, height: `${height}%`, left: `${50 - width / 2}%`, top: `${50 - height / 2}%` });
    }
    $("picture").style.width = $("picture").style.height = `${100 * factor}%`;
    viewport.scrollLeft = (viewport.scrollWidth - viewport.clientWidth) / 2;
    viewport.scrollTop = (viewport.scrollHeight - viewport.clientHeight) / 2;
    $("zoom").textContent = `${Number(factor.toFixed(1))}×`;
    $("framed").disabled = !there;
    $("framed").setAttribute("aria-pressed", String(there && zoom === "frame"));
    $("whole").setAttribute("aria-pressed", String(factor === 1 && !(there && zoom === "frame")));
  };
  const zoomTo = (to) => {
    zoom = to;
    place();
  };
  const setZoom = (by) => {
    const now = times(zoom), others = [...ZOOMS, times("frame")].sort((a, b) => a - b);
    const next = by > 0 ? others.find((one) => one > now * 1.01) : others.reverse().find((one) => one < now / 1.01);
    if (next !== undefined) zoomTo(next === times("frame") ? "frame" : next);
  };
  const press = () => document.querySelectorAll("[data-stretch]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.stretch === stretch));
  });

  const button = (key, text, label) => {
    const made = document.createElement("button");
    made.type = "button";
    made.dataset.label = label;
    const cap = document.createElement("kbd");
    cap.textContent = key;
    made.append(cap, ` ${text}`);
    made.addEventListener("click", () => answer(label));
    $("answers").append(made);
  };

  const KEYS = {
    u: undo, ArrowLeft: () => look(-1), ArrowRight: () => look(1), "+": () => setZoom(1), "=": () => setZoom(1), "-": () => setZoom(-1),
    f: () => zoomTo(zoom === "frame" && times(zoom) > 1 ? 1 : "frame"),
    s: () => setStretch(STRETCHES[(STRETCHES.indexOf(stretch) + 1) % STRETCHES.length]), 0: () => answer(""),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (event.key.startsWith("Arrow") && times(zoom) > 1 && document.activeElement === viewport) return;
    const at = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
    const action = at >= 0 ? (classes[at] !== undefined && (() => answer(classes[at]))) : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });
  for (const [id, action] of Object.entries({ back: () => look(-1), forward: () => look(1), undo, smaller: () => setZoom(-1), larger: () => setZoom(1), framed: () => zoomTo("frame"), whole: () => zoomTo(1) })) {
    $(id).addEventListener("click", action);
  }
  document.querySelectorAll("[data-stretch]").forEach((one) => one.addEventListener("click", () => setStretch(one.dataset.stretch)));

  window.addEventListener("resize", place);

  busy = false;
  press();
  doing(async () => {
    const content = await ask("start");
    if (!content) return;
    classes = content.classes;
    classes.forEach((text, i) => button(i < 9 ? String(i + 1) : "·", text, text));
    button("0", "unsure", "");
    await show(content.view);
  });
})();
