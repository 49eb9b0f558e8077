// What the pages do beyond what they are without it: forms that don't leave the
// page, a page that follows what happens, and the log viewer. An event says only
// that something happened; what is shown is asked for again. Text from outside is
// only ever set as text.

const pause = ms => new Promise(done => setTimeout(done, ms));

// follow keeps an event stream open while the page can be seen: a browser has six
// connections to a host, and one stream holds one. on maps the kinds of message to
// functions; url is asked anew for each connection.
function follow(url, on, state = () => {}) {
  let source = null, ended = false, retry = 0;
  const close = () => { source?.close(); source = null; clearTimeout(retry); };
  const open = () => {
    if (source || ended || document.hidden) return;
    source = new EventSource(url());
    source.onopen = () => state(true);
    source.onerror = () => {
      state(false);
      // After an answer that is no stream the browser doesn't try again by itself.
      if (source?.readyState === EventSource.CLOSED) { close(); retry = setTimeout(open, 10000); }
    };
    for (const [kind, f] of Object.entries(on)) source.addEventListener(kind, f);
  };
  document.addEventListener("visibilitychange", () => document.hidden ? close() : open());
  addEventListener("pagehide", close);
  addEventListener("pageshow", open);
  open();
  return { end() { ended = true; close(); } };
}

// fetchFragment returns a page's live block, or null with the reason at the top of
// the page.
async function fetchFragment(url, options = {}) {
  const answer = await fetch(url, { ...options, headers: { "X-Albs-Fragment": "live" } });
  const text = await answer.text();
  const doc = new DOMParser().parseFromString(text, "text/html");
  const flash = document.getElementById("flash");
  if (!answer.ok) {
    const said = doc.getElementById("flash");
    if (said) flash.replaceChildren(...said.childNodes);
    else flash.textContent = "The server answered " + answer.status + ".";
    return null;
  }
  return doc.body;
}

// swap puts the sections of a fragment in the place of those with the same id. One
// that is as it was stays untouched, and what the reader has opened, scrolled, typed
// or focused in another stays so.
const key = part => part.outerHTML.replace(/(<(?:time|span class="since") [^>]*>)[^<]*/g, "$1"); // "1 s ago" is no change
const shown = new Map();
for (const part of document.querySelectorAll("#live > [id]")) shown.set(part.id, key(part));
let pressed = false; // what is being clicked on has to stay until it is done
addEventListener("pointerdown", () => { pressed = true; }, true);
for (const up of ["pointerup", "pointercancel"]) addEventListener(up, () => setTimeout(() => { pressed = false; }), true);

function swap(fragment) {
  const live = document.getElementById("live");
  const parts = [...fragment.children].filter(part => part.id);
  if (parts.some(part => !document.getElementById(part.id))) {
    live.replaceChildren(...parts);
  } else for (const part of parts) {
    if (shown.get(part.id) === key(part)) continue;
    shown.set(part.id, key(part));
    const old = document.getElementById(part.id);
    const open = [...old.querySelectorAll("details[open][id]")].map(d => d.id);
    const scrolled = [...old.querySelectorAll(".scroll[id]")].map(s => [s.id, s.scrollLeft]);
    const typed = [...old.querySelectorAll("input[id]:not([type=checkbox]), textarea[id]")].filter(i => i.value !== i.defaultValue).map(i => [i.id, i.value, i.selectionStart, i.selectionEnd]);
    const ticked = [...old.querySelectorAll("input[id][type=checkbox]")].filter(i => i.checked !== i.defaultChecked).map(i => [i.id, i.checked]);
    const focus = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.replaceWith(part);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, x] of scrolled) { const s = document.getElementById(id); if (s) s.scrollLeft = x; }
    for (const [id, value, from, to] of typed) { const i = document.getElementById(id); if (i) { i.value = value; if (from !== null) i.setSelectionRange(from, to); } }
    for (const [id, on] of ticked) { const i = document.getElementById(id); if (i) i.checked = on; }
    if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
  }
  tick();
  copies();
}

let asking = false, again = false;
async function refresh() {
  if (asking) { again = true; return; }
  asking = true;
  do {
    again = false;
    try {
      const fragment = await fetchFragment(location.href);
      while (pressed) await pause(50);
      if (fragment) swap(fragment);
    } catch {
      again = true; // the network is away for a moment
      await pause(3000);
    }
  } while (again);
  asking = false;
}

const main = document.getElementById("main");
if (main.dataset.topic) {
  let after = main.dataset.after;
  const link = document.getElementById("link");
  follow(() => "/events?topic=" + encodeURIComponent(main.dataset.topic) + "&after=" + after, {
    change: e => { after = e.lastEventId; refresh(); },
  }, up => { link.textContent = up ? "This page keeps up with what happens." : "The connection is lost; trying again."; });
}

document.addEventListener("submit", async e => {
  const form = e.target;
  if (!form.matches("form[data-swap]") || e.defaultPrevented) return;
  e.preventDefault();
  const button = e.submitter ?? form.querySelector("button"), body = new URLSearchParams(new FormData(form));
  if (button.name) body.append(button.name, button.value); // which of several it was
  button.disabled = true;
  try {
    // A button may be called action, as the form's own property is.
    const done = await fetchFragment(form.getAttribute("action"), { method: form.getAttribute("method"), body });
    if (done) {
      document.getElementById("flash").replaceChildren();
      form.reset(); // what was sent isn't being typed any more
      form.closest("details")?.removeAttribute("open");
      await refresh();
    }
  } catch {
    document.getElementById("flash").textContent = "The server can't be reached; nothing was done.";
  }
  button.disabled = false;
});

// What is meant to be taken elsewhere gets a button that does so, where the browser lets
// pages: by https, or on this machine.
function copies() {
  if (!navigator.clipboard) return;
  for (const e of document.querySelectorAll(".copy:not([data-copies])")) {
    e.dataset.copies = "";
    const text = e.localName === "code" && e.title || e.textContent;
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copies", textContent: "Copy" });
    button.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(text); button.textContent = "Copied"; } catch { button.textContent = "The browser didn't let it"; }
    });
    e.after(button);
  }
}
copies();

// A file is traced by its sha256, which is taken here: one that is chosen, or dropped
// anywhere on the page. Browsers do so by https, or on this machine, and in memory.
const largest = 2 ** 30;
function hashes() {
  const label = document.querySelector("[data-hash]");
  if (!label || !crypto.subtle) return;
  label.hidden = false;
  const say = text => { document.getElementById("flash").textContent = text; };
  const trace = async file => {
    if (!file) return;
    if (file.size > largest) return say("It is too large to be hashed here; sha256sum does it.");
    say("");
    try {
      const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
      location.assign("/p/" + [...sum].map(b => b.toString(16).padStart(2, "0")).join(""));
    } catch {
      say("The file can't be read.");
    }
  };
  label.querySelector("input").addEventListener("change", e => trace(e.target.files[0]));
  document.addEventListener("dragover", e => e.preventDefault());
  document.addEventListener("drop", e => { e.preventDefault(); trace(e.dataTransfer.files[0]); });
}
hashes();

// Times tell how long ago they are, as the server said it when the page was made.
function span(s) {
  if (s < 60) return Math.max(0, Math.floor(s)) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s";
  return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
}
function ago(s) {
  if (s < 5) return "just now";
  if (s < 60) return Math.floor(s) + " s ago";
  if (s < 3600) return Math.floor(s / 60) + " min ago";
  if (s < 48 * 3600) return Math.floor(s / 3600) + " h ago";
  return s < 60 * 24 * 3600 ? Math.floor(s / 86400) + " days ago" : "";
}
function tick() {
  const say = (e, text) => { if (e.textContent !== text) e.textContent = text; };
  const seconds = iso => (Date.now() - Date.parse(iso)) / 1000;
  for (const e of document.querySelectorAll("[data-since]")) say(e, span(seconds(e.dataset.since)));
  for (const e of document.querySelectorAll("time[datetime]")) say(e, ago(seconds(e.dateTime)) || e.dateTime.slice(0, 10));
}
tick();
setInterval(tick, 1000);

// Log is the viewer: it has only the lines in sight as elements, and asks for them
// in blocks. Heights beyond what browsers can lay out are scaled.
const tallest = 8e6;
class Log {
  constructor(box) {
    this.box = box;
    this.base = box.dataset.log;
    this.query = "?attempt=" + box.dataset.attempt;
    this.block = Number(box.dataset.block);
    this.total = Number(box.dataset.lines);
    this.ended = "ended" in box.dataset;
    this.blocks = new Map(); // number → its lines, as far as they are here
    this.row = parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--row"));
    this.build();
    this.readHash();
    this.following = !this.mark && !this.ended;
    this.layout();
    if (this.mark) this.show(this.mark[0]);
    else this.toEnd();
    if (!this.ended) this.stream = follow(() => this.base + "/tail" + this.query, { grown: e => this.grown(e), end: e => this.grown(e) });
  }

  build() {
    const make = (tag, props, ...children) => { const e = Object.assign(document.createElement(tag), props); e.append(...children); return e; };
    this.list = make("ol", { className: "lines" });
    this.spacer = make("div", { className: "spacer" });
    this.view = make("div", { className: "view", tabIndex: 0 }, this.spacer, this.list);
    this.view.setAttribute("role", "region");
    this.view.setAttribute("aria-label", "Log");
    this.count = this.box.querySelector(".count");
    this.check = make("input", { type: "checkbox" });
    this.needle = make("input", { type: "search", placeholder: "Find in the log", maxLength: 200 });
    this.needle.setAttribute("aria-label", "Find in the log");
    const raw = this.box.querySelector(".bar > a");
    const button = make("button", { type: "button", textContent: "Next" });
    const top = make("button", { type: "button", textContent: "Top" });
    this.box.querySelector(".pages").replaceWith(this.needle, button, top, make("label", {}, this.check, "Follow the end"));
    this.box.querySelector(".lines").replaceWith(this.view);
    raw.before(" ");
    this.view.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.check.addEventListener("change", () => { this.following = this.check.checked; if (this.following) this.toEnd(); });
    this.needle.addEventListener("keydown", e => { if (e.key === "Enter") { e.preventDefault(); this.find(); } });
    button.addEventListener("click", () => this.find());
    top.addEventListener("click", () => this.show(1));
    this.list.addEventListener("click", e => this.pick(e));
    addEventListener("hashchange", () => { this.readHash(); if (this.mark) this.show(this.mark[0]); });
    new ResizeObserver(() => this.following ? this.toEnd() : this.draw()).observe(this.view);
  }

  // readHash reads #L120 and #L120-L140.
  readHash() {
    const m = /^#L(\d+)(?:-L?(\d+))?$/.exec(location.hash);
    this.mark = m && [Number(m[1]), Number(m[2] || m[1])].sort((a, b) => a - b);
  }

  // pick makes a link of a line, and with shift of all from the one marked before.
  pick(e) {
    const a = e.target.closest("a");
    if (!a) return;
    e.preventDefault();
    const n = Number(a.textContent);
    const [from, to] = e.shiftKey && this.mark ? [Math.min(n, this.mark[0]), Math.max(n, this.mark[0])] : [n, n];
    history.replaceState(null, "", "#L" + from + (to > from ? "-L" + to : ""));
    this.mark = [from, to];
    this.draw();
  }

  get rows() { return Math.ceil(this.view.clientHeight / this.row); }
  get height() { return Math.min(this.total * this.row, tallest); }
  get lastTop() { return Math.max(0, this.height - this.view.clientHeight); }

  // first is the line at the top of the view.
  get first() {
    const last = Math.max(0, this.total - this.rows);
    const at = this.total * this.row <= tallest ? this.view.scrollTop / this.row : this.view.scrollTop / this.lastTop * last;
    return 1 + Math.min(last, Math.floor(at));
  }

  layout() {
    this.spacer.style.height = this.height + "px";
    this.draw();
  }

  scrollTo(top) {
    this.expected = Math.min(Math.max(0, Math.round(top)), this.lastTop);
    this.view.scrollTop = this.expected;
    this.draw();
  }

  toEnd() { this.scrollTo(this.lastTop); }

  show(line) {
    this.following = false;
    const last = Math.max(1, this.total - this.rows);
    const first = Math.max(0, line - 1 - Math.floor(this.rows / 3));
    this.scrollTo(this.total * this.row <= tallest ? first * this.row : first / last * this.lastTop);
  }

  scrolled() {
    if (Math.abs(this.view.scrollTop - this.expected) > 1) {
      this.expected = -9; // it was the reader
      this.following = this.view.scrollTop >= this.lastTop - 2 && !this.ended;
    }
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  // line returns a line, or undefined until its block is here.
  line(n) {
    const b = Math.floor((n - 1) / this.block), have = this.blocks.get(b) ?? { lines: [], loading: false };
    this.blocks.set(b, have);
    if (have.lines.length < Math.min(this.block, this.total - b * this.block) && !have.loading) this.load(b, have);
    return have.lines[(n - 1) % this.block];
  }

  async load(b, have) {
    have.loading = true;
    try {
      const answer = await fetch(this.base + "/lines" + this.query + "&from=" + (1 + b * this.block));
      if (!answer.ok) throw new Error(answer.status);
      have.lines = (await answer.json()).text ?? [];
      have.lines.length = Math.min(have.lines.length, have.keep ?? Infinity);
      delete have.keep;
    } catch {
      await pause(2000);
    }
    have.loading = false;
    if (this.blocks.size > 60) this.blocks.delete(this.blocks.keys().next().value);
    this.draw();
  }

  draw() {
    const from = Math.max(1, this.first - 10), to = Math.min(this.total, this.first + this.rows + 10);
    const items = [];
    for (let n = from; n <= to; n++) {
      const line = this.line(n);
      const li = document.createElement("li"), a = document.createElement("a"), code = document.createElement("code");
      li.id = "L" + n;
      a.href = "#L" + n;
      a.textContent = n;
      code.textContent = line ? line.t : "";
      li.append(a, code);
      if (line?.cut) { const em = document.createElement("em"); em.textContent = " … " + line.cut.toLocaleString("en") + " bytes more in the raw log"; li.append(em); }
      if (this.mark && n >= this.mark[0] && n <= this.mark[1]) li.className = "mark";
      items.push(li);
    }
    this.list.replaceChildren(...items);
    const top = this.total * this.row <= tallest ? (from - 1) * this.row : Math.max(0, this.view.scrollTop - (this.first - from) * this.row);
    this.list.style.transform = "translateY(" + top + "px)";
    this.check.checked = this.following;
    this.check.disabled = this.ended;
    this.count.textContent = this.total.toLocaleString("en") + (this.total === 1 ? " line" : " lines") + (this.ended ? "" : ", still growing");
  }

  grown(e) {
    const now = JSON.parse(e.data);
    // The last line may have been half of one, here or in an answer on its way.
    const have = this.blocks.get(Math.floor((this.total - 1) / this.block)), whole = (this.total - 1) % this.block;
    if (have) have.lines.length = Math.min(have.lines.length, whole);
    if (have?.loading) have.keep = Math.min(have.keep ?? whole, whole);
    this.total = now.lines;
    if (now.ended) {
      this.ended = true;
      this.stream?.end();
      refresh(); // the head says how it ended
    }
    this.layout();
    if (this.following) this.toEnd();
    if (this.ended) { this.following = false; this.draw(); }
  }

  async find() {
    const q = this.needle.value;
    if (!q) return;
    if (q !== this.sought) { this.sought = q; this.at = this.first - 1; }
    const ask = async after => (await (await fetch(this.base + "/find" + this.query + "&q=" + encodeURIComponent(q) + "&after=" + after)).json()).line;
    try {
      const line = await ask(this.at) || (this.at > 0 ? await ask(0) : 0); // from the beginning again
      this.needle.setCustomValidity(line ? "" : "It is not in the log.");
      this.needle.reportValidity();
      if (!line) return;
      this.at = line;
      history.replaceState(null, "", "#L" + line);
      this.mark = [line, line];
      this.show(line);
    } catch {
      this.needle.setCustomValidity("The server can't be reached.");
      this.needle.reportValidity();
    }
  }
}

const box = document.querySelector("[data-log]");
if (box) new Log(box);
