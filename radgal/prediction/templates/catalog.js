"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const { columns, classes, flags, sheets } = data;
  const n = columns.id.length, PER_PAGE = 60, IN_STRIP = 8, BINS = 40;
  const get = (key, i) => (columns[key] ? columns[key][i] : null);
  const make = (kind, className, text) => {
    const element = document.createElement(kind);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const className = (i) => (columns.class[i] < 0 ? "no prediction" : classes[columns.class[i]]);
  const isCalibrated = Boolean(columns.c0);
  const probability = (i) => (columns.class[i] < 0 ? null : get(`${isCalibrated ? "c" : "p"}${columns.class[i]}`, i));
  const flagsOf = columns.flags.map((k) => data.texts.flags[k].split(";").filter(Boolean));
  const inArcsec = Boolean(columns.extent_arcsec);
  const size = (i) => get(inArcsec ? "extent_arcsec" : "extent_px", i);
  const isLearned = (i) => get("learned", i) === 1;
  const doubt = (i) => {
    const entropy = get("entropy", i);
    return entropy !== null ? entropy : probability(i) === null ? null : 1 - probability(i);
  };

  // Pictures: sheets of tiles, in the page itself or in the folder of its name.
  const here = decodeURIComponent(location.pathname.split("/").pop()).replace(/\.html?$/, "");
  const sheetOf = (i) => {
    const part = Math.floor(i / sheets.part_rows), within = i % sheets.part_rows, per = sheets.tiles ** 2;
    const k = Math.floor(within / per);
    const url = sheets.embedded
      ? `data:image/png;base64,${sheets.embedded[part * sheets.per_part + k]}`
      : `${encodeURIComponent(here)}_files/${String(part).padStart(6, "0")}-${String(k).padStart(3, "0")}.png`;
    return [url, within % per];
  };
  const paint = (slot, i) => {
    const there = get("extent_px", i) !== null;
    slot.classList.toggle("none", !there);
    slot.style.backgroundImage = "";
    if (!there) return;
    const [url, at] = sheetOf(i), last = sheets.tiles - 1;
    slot.style.backgroundImage = `url("${url}")`;
    slot.style.backgroundSize = `${100 * sheets.tiles}%`;
    slot.style.backgroundPosition = `${(100 * (at % sheets.tiles)) / last}% ${(100 * Math.floor(at / sheets.tiles)) / last}%`;
  };

  const broken = (element, text) => { // a name is broken where it is composed, not within a number
    element.replaceChildren();
    for (const part of text.split(/(?<=[_\-+/])/)) element.append(part, document.createElement("wbr"));
    return element;
  };
  const picked = new Set();
  const card = (i, list) => {
    const item = make("li"), button = make("button", "source"), slot = make("span", "tile picture");
    button.type = "button";
    button.title = columns.id[i];
    paint(slot, i);
    const name = broken(make("span", "source-name"), columns.id[i]);
    button.append(slot, name);
    const p = probability(i);
    const shown = p === null ? "" : p >= 0.995 ? " > 0.99" : ` ${p.toFixed(2)}`; // never 1.00: no network is certain
    button.append(make("span", "verdict", className(i) + shown));
    if (isLearned(i)) button.append(make("span", "learned", "in training"));
    if (flagsOf[i].length) button.append(make("span", "small flagged", flagsOf[i].join(", ")));
    button.addEventListener("click", () => open(i, list, button));
    item.append(button);
    return item;
  };
  const pickable = (i) => {
    const item = card(i, () => chosen), label = make("label", "pick"), box = make("input");
    box.type = "checkbox";
    box.checked = picked.has(i);
    box.setAttribute("aria-label", `pick ${columns.id[i]}`);
    box.addEventListener("change", () => {
      if (box.checked) picked.add(i); else picked.delete(i);
      $("save-picked").textContent = `save picked (${picked.size})`;
      $("save-picked").disabled = !picked.size;
    });
    label.append(box);
    item.append(label);
    return item;
  };

  // What is chosen, and in which order.
  const ORDERS = {
    row: null,
    sure: [doubt, 1], unsure: [doubt, -1], large: [size, -1], small: [size, 1],
  };
  const sorted = (rows, order) => {
    if (order === "name") return rows.sort((a, b) => (columns.id[a] < columns.id[b] ? -1 : columns.id[a] > columns.id[b] ? 1 : a - b));
    if (!ORDERS[order]) return rows;
    const [key, way] = ORDERS[order];
    const known = rows.filter((i) => key(i) !== null), unknown = rows.filter((i) => key(i) === null);
    return known.sort((a, b) => way * (key(a) - key(b)) || a - b).concat(unknown);
  };
  const everything = Array.from({ length: n }, (_, i) => i);
  let chosen = everything, page = 0;
  const number = (id) => ($(id).value === "" ? null : Number($(id).value));
  const choose = () => {
    const wanted = $("f-class").value, flag = $("f-flag").value, name = $("f-name").value.toLowerCase();
    const [pLow, pHigh, sLow, sHigh] = ["f-p-low", "f-p-high", "f-s-low", "f-s-high"].map(number);
    const inside = (value, low, high) => (low === null || (value !== null && value >= low)) && (high === null || (value !== null && value <= high));
    chosen = everything.filter((i) => (wanted === "" || String(columns.class[i]) === wanted)
      && (flag === "" || (flag === "-none" ? !flagsOf[i].length : flag === "-any" ? flagsOf[i].length > 0 : flag === "-learned" ? isLearned(i) : flag === "-unlearned" ? !isLearned(i) : flagsOf[i].includes(flag)))
      && (name === "" || columns.id[i].toLowerCase().includes(name))
      && inside(probability(i), pLow, pHigh) && inside(size(i), sLow, sHigh));
    chosen = sorted(chosen, $("f-order").value);
    page = 0;
    histograms();
    show();
  };
  const show = () => {
    const pages = Math.max(1, Math.ceil(chosen.length / PER_PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    $("grid").replaceChildren(...chosen.slice(page * PER_PAGE, (page + 1) * PER_PAGE).map(pickable));
    $("count").textContent = `${chosen.length.toLocaleString("en")} of ${n.toLocaleString("en")} sources`;
    $("page").value = page + 1;
    $("page").max = pages;
    $("pages").textContent = `of ${pages.toLocaleString("en")}`;
    $("page-back").disabled = page === 0;
    $("page-on").disabled = page === pages - 1;
    $("save").disabled = !chosen.length;
  };

  const tally = (rows) => {
    const byClass = new Map(), bins = new Array(BINS).fill(0);
    for (const i of rows) {
      byClass.set(columns.class[i], (byClass.get(columns.class[i]) || 0) + 1);
      const p = probability(i);
      if (p !== null) bins[Math.min(BINS - 1, Math.floor(p * BINS))] += 1;
    }
    return [byClass, bins];
  };
  const whole = tally(everything);
  const bar = (kind, share) => {
    const one = make("i", kind);
    return [one, `${(100 * share).toFixed(2)}%`];
  };
  const histograms = () => {
    const now = tally(chosen), keys = [...classes.keys(), ...(whole[0].has(-1) ? [-1] : [])];
    const most = Math.max(...keys.map((k) => whole[0].get(k) || 0), 1);
    $("by-class").replaceChildren(...keys.map((k) => {
      const line = make("div", "hbar"), track = make("span", "track");
      const [all, part] = [whole[0].get(k) || 0, now[0].get(k) || 0];
      for (const [kind, count] of [["", all], ["now", part]]) {
        const [one, width] = bar(kind, count / most);
        one.style.width = width;
        track.append(one);
      }
      line.append(make("span", "", k < 0 ? "no prediction" : classes[k]), track, make("span", "", all === part ? String(all) : `${part} of ${all}`));
      return line;
    }));
    const first = Math.max(0, Math.floor(BINS / Math.max(classes.length, 1)) - (classes.length === 2 ? 0 : 1));
    const highest = Math.max(...whole[1], 1), columns_ = make("div", "columns"), under = make("div", "under-columns");
    for (let k = first; k < BINS; k++) {
      const column = make("div", "column");
      column.title = `${(k / BINS).toFixed(3)} to ${((k + 1) / BINS).toFixed(3)}: ${whole[1][k]}`;
      for (const [kind, count] of [["", whole[1][k]], ["now", now[1][k]]]) {
        const [one, height] = bar(kind, count / highest);
        one.style.height = height;
        column.append(one);
      }
      columns_.append(column);
    }
    const low = first / BINS;
    under.append(...[0, 0.25, 0.5, 0.75, 1].map((s) => make("span", "", String(Number((low + s * (1 - low)).toFixed(3))))));
    $("by-probability").replaceChildren(columns_, under, make("p", "small", `highest column: ${highest.toLocaleString("en")} source${highest === 1 ? "" : "s"}`));
  };

  // One source, large.
  let list = () => chosen, at = 0, opener = null;
  const NICE = [1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600];
  const said = (arcsec) => (arcsec < 60 ? `${arcsec}″` : `${arcsec / 60}′`);
  const SVG = "http://www.w3.org/2000/svg";
  const svg = (kind, attributes) => {
    const element = document.createElementNS(SVG, kind);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  };
  const fact = (label, value) => {
    const row = make("div");
    row.append(make("dt", "", label), make("dd", "", value));
    return row;
  };
  const link = (text, url) => {
    const a = make("a", "", text);
    a.href = url;
    a.target = "_blank";
    a.rel = "noopener noreferrer";
    return a;
  };
  const fill = (i) => {
    const picture = $("large-picture");
    broken($("large-name"), columns.id[i]);
    picture.replaceChildren();
    picture.setAttribute("aria-label", `radio image of ${columns.id[i]}`);
    paint(picture, i);
    const field = get("field_arcsec", i), major = get("beam_major", i);
    if (field !== null) {
      const length = NICE.filter((one) => one <= field / 3).pop() || NICE[0];
      const scale = make("div", "scale");
      scale.style.width = `${(100 * length) / field}%`;
      scale.append(make("span", "", said(length)));
      picture.append(scale);
    }
    $("large-beam").textContent = major === null ? "The file gives no beam." : `Beam ${major.toFixed(1)}″ × ${get("beam_minor", i).toFixed(1)}″ at ${get("beam_angle", i).toFixed(0)}°, lower left.`;
    if (major !== null && field !== null) {
      const drawing = svg("svg", { viewBox: "0 0 100 100", class: "beam", "aria-hidden": "true" });
      const [rx, ry] = [get("beam_minor", i), major].map((width) => (50 * width) / field);
      drawing.append(svg("ellipse", { cx: 4 + ry, cy: 96 - ry, rx, ry, transform: `rotate(${-get("beam_angle", i)} ${4 + ry} ${96 - ry})` }));
      picture.append(drawing);
    }
    const facts = make("dl", "facts"), p = probability(i);
    facts.append(fact("class", p === null ? className(i) : `${className(i)}`));
    for (const [key, kind] of isCalibrated ? [["c", "calibrated "], ["p", "raw "]] : [["p", ""]]) {
      classes.forEach((name, k) => get(`${key}${k}`, i) !== null && facts.append(fact(`${kind}probability of ${name}`, get(`${key}${k}`, i).toFixed(4))));
    }
    if (get("entropy", i) !== null) facts.append(fact("predictive entropy", `${get("entropy", i).toFixed(3)} nats`));
    const [ra, dec] = [get("ra", i), get("dec", i)];
    if (ra !== null) facts.append(fact("RA, Dec (ICRS)", `${ra.toFixed(5)}°, ${dec.toFixed(5)}°`));
    if (size(i) !== null) facts.append(fact("size", inArcsec ? `${size(i).toFixed(0)}″` : `${size(i)} px`));
    if (field !== null) facts.append(fact("field", `${(field / 60).toFixed(1)}′`));
    if (isLearned(i)) facts.append(fact("in training", "yes: what is said of it proves nothing"));
    flagsOf[i].forEach((flag) => facts.append(fact(flag, flags[flag] || "")));
    const error = data.texts.error[columns.error[i]];
    if (error) facts.append(fact("no prediction", error));
    if (get("path", i) !== null) {
      facts.append(fact("file", ""));
      broken(facts.lastChild.lastChild, data.start + get("path", i));
    }
    $("large-facts").replaceChildren(facts);
    const links = $("large-links");
    links.replaceChildren();
    if (ra !== null) {
      const place = encodeURIComponent(`${ra} ${dec >= 0 ? "+" : ""}${dec}`), fov = ((field || 270) / 3600).toFixed(4);
      links.append(
        link("Aladin Lite", `https://aladin.cds.unistra.fr/AladinLite/?target=${place}&fov=${fov}`),
        link("ESASky", `https://sky.esa.int/?target=${encodeURIComponent(`${ra} ${dec}`)}&fov=${fov}&cooframe=J2000`),
        link("NED", `https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search&coordinates=${encodeURIComponent(`${ra}d ${dec}d`)}&radius=0.5&in_csys=Equatorial&in_equinox=J2000.0`),
        link("SIMBAD", `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${place}&Radius=30&Radius.unit=arcsec`),
        link("SkyView", `https://skyview.gsfc.nasa.gov/current/cgi/runquery.pl?Position=${encodeURIComponent(`${ra},${dec}`)}&Survey=VLA%20FIRST%20(1.4%20GHz)`),
      );
    }
  };
  const open = (i, of, button) => {
    list = of;
    at = list().indexOf(i);
    opener = button;
    fill(i);
    $("large").showModal();
  };
  const step = (by) => {
    const rows = list();
    at = (at + by + rows.length) % rows.length;
    fill(rows[at]);
  };
  const large = $("large");
  large.addEventListener("close", () => opener && opener.isConnected && opener.focus());
  large.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === large || (button && button.classList.contains("close"))) large.close();
    else if (button && button.dataset.step) step(Number(button.dataset.step));
  });
  large.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });

  // A part of the catalog, saved: a text that a spreadsheet would run gets an apostrophe, as in the catalog itself.
  const cell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (typeof value === "string" && /^'?\s*(?:[=@]|[+-][^]*[(|!])/.test(text)) text = `'${text}`;
    return /[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  const calibrated = isCalibrated ? [...classes.keys()] : [];
  const save = (rows) => {
    const head = ["id", ...(columns.path ? ["path"] : []), "ra_deg", "dec_deg", "pred_name", ...classes.map((name) => `prob_${name}`), ...calibrated.map((k) => `prob_calibrated_${classes[k]}`), "predictive_entropy", inArcsec ? "size_arcsec" : "size_px", ...(columns.learned ? ["in_training"] : []), "flags", "error"];
    const lines = rows.map((i) => [columns.id[i], ...(columns.path ? [data.start + get("path", i)] : []), get("ra", i), get("dec", i), columns.class[i] < 0 ? "" : className(i), ...classes.map((_, k) => get(`p${k}`, i)), ...calibrated.map((k) => get(`c${k}`, i)), get("entropy", i), size(i), ...(columns.learned ? [get("learned", i)] : []), flagsOf[i].join(";"), data.texts.error[columns.error[i]]]);
    const text = [head, ...lines].map((line) => line.map(cell).join(",")).join("\n") + "\n";
    const a = make("a");
    a.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    a.download = `${here}_selection.csv`;
    a.click();
    setTimeout(() => URL.revokeObjectURL(a.href), 10000);
  };
  $("save").addEventListener("click", () => save(chosen));
  $("save-picked").addEventListener("click", () => save([...picked].sort((a, b) => a - b)));

  // The form.
  const option = (select, value, text) => {
    const one = make("option", "", text);
    one.value = value;
    $(select).append(one);
  };
  option("f-class", "", "all");
  classes.forEach((name, k) => option("f-class", String(k), name));
  if (whole[0].has(-1)) option("f-class", "-1", "no prediction");
  option("f-flag", "", "all");
  option("f-flag", "-none", "none");
  option("f-flag", "-any", "any");
  const counts = new Map();
  flagsOf.forEach((row) => row.forEach((flag) => counts.set(flag, (counts.get(flag) || 0) + 1)));
  for (const flag of Object.keys(flags)) option("f-flag", flag, `${flag} (${counts.get(flag) || 0})`);
  const learned = everything.filter(isLearned).length;
  if (learned) {
    option("f-flag", "-learned", `in training (${learned})`);
    option("f-flag", "-unlearned", `not in training (${n - learned})`);
  }
  $("size-unit").textContent = inArcsec ? "(arcsec)" : "(px)";
  const meant = Object.entries(flags).map(([flag, text]) => `${flag} ${text}`).join("; ");
  if (learned) $("meanings").append("In training: the network has learned from this source, so what it says of it proves nothing. ");
  if (meant) $("meanings").append(`What flags mean: ${meant}`);
  let waiting = 0;
  $("choice").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(choose, 120); });
  $("choice").addEventListener("reset", () => setTimeout(choose));
  $("choice").addEventListener("submit", (event) => event.preventDefault());
  $("page-back").addEventListener("click", () => { page -= 1; show(); $("all").scrollIntoView(); });
  $("page-on").addEventListener("click", () => { page += 1; show(); $("all").scrollIntoView(); });
  $("page").addEventListener("change", () => { page = Number($("page").value) - 1; show(); });

  const known = everything.filter((i) => doubt(i) !== null);
  const strip = (title, rows) => {
    if (!rows.length) return;
    const box = make("ul", "strip");
    box.append(...rows.map((i) => card(i, () => rows)));
    $("strips").append(make("h3", "", title), box);
  };
  const ordered = sorted([...known], "sure");
  strip("Most certain", ordered.slice(0, IN_STRIP));
  strip("Least certain", ordered.slice(-IN_STRIP).reverse());
  for (const [flag, count] of counts) {
    strip(`Flag ${flag} (${count})`, everything.filter((i) => flagsOf[i].includes(flag)).slice(0, IN_STRIP));
  }
  const failed = whole[0].get(-1) || 0;
  $("lead").textContent = classes.map((name, k) => `${(whole[0].get(k) || 0).toLocaleString("en")} ${name}`).join(", ") + (failed ? `, ${failed.toLocaleString("en")} without a prediction` : "");
  choose();
})();
