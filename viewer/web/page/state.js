// One small state, mirrored in the address: #/down_blocks.1/attentions.0?select=...&tab=...

const DEFAULTS = {
  open: "",
  select: "",
  tab: "about",
  role: "",
  from: "",
  to: "",
  model: "0",
  story: "",
  stop: "",
  ask: "",
  size: "",
};

export class State {
  constructor() {
    this.listeners = [];
    this.current = this.read();
    window.addEventListener("hashchange", () => {
      const before = this.current;
      this.current = this.read();
      this.tell(before);
    });
  }

  read() {
    const [path, query] = window.location.hash.replace(/^#\/?/, "").split("?");
    const found = { ...DEFAULTS, open: path.split("/").map(decode).join("/") };
    for (const [name, value] of new URLSearchParams(query ?? "")) {
      if (name in DEFAULTS && name !== "open") {
        found[name] = value;
      }
    }
    return found;
  }

  // Changes some of the state; `quiet` rewrites the address without a step in the history.
  set(changes, quiet = false) {
    const before = this.current;
    const next = { ...before, ...changes };
    if (Object.keys(next).every((name) => next[name] === before[name])) {
      return;
    }
    this.current = next;
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(next)) {
      if (name !== "open" && value && value !== DEFAULTS[name]) {
        query.set(name, value);
      }
    }
    const text = `${query}`;
    const path = next.open.split("/").map(encodeURIComponent).join("/");
    const address = `#/${path}${text ? `?${text}` : ""}`;
    window.history[quiet ? "replaceState" : "pushState"](null, "", address);
    this.tell(before);
  }

  tell(before) {
    for (const listener of this.listeners) {
      listener(this.current, before);
    }
  }

  listen(listener) {
    this.listeners.push(listener);
    listener(this.current, {});
  }
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
