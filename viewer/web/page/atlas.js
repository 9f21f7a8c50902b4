// The rows of viewer/model/rows.py with the look-ups that every view needs.

import { count, workShape } from "./counting.js";

// What people call it, in the words of roles.
const SYNONYMS = {
  text: "cross-attention",
  prompt: "cross-attention",
  token: "cross-attention",
  tokens: "cross-attention",
};

export class Atlas {
  constructor(data) {
    Object.assign(this, data);
    this.values = data.values.map(([name, shape, dtype, producer, flow], id) => ({
      id,
      name,
      shape,
      dtype,
      producer,
      flow,
    }));
    this.nodes = data.nodes.map((node, id) => ({
      id,
      parent: null,
      role: "",
      module: "",
      in: [],
      out: [],
      locals: [],
      formals: [],
      children: [],
      weights: [],
      attributes: {},
      params: 0,
      ...node,
    }));
    this.byPath = new Map(this.nodes.map((node) => [node.path, node]));
    this.byModule = new Map();
    for (const node of this.nodes) {
      if (!this.byModule.has(node.module)) {
        this.byModule.set(node.module, node);
      }
    }
    this.consumers = new Map();
    for (const node of this.nodes) {
      if (node.kind !== "op") {
        continue;
      }
      for (const value of new Set(node.in)) {
        if (value >= 0) {
          this.consumers.set(value, [...(this.consumers.get(value) ?? []), node.id]);
        }
      }
    }
    this.blocks.forEach((block) => {
      block.work = workShape(this, block);
    });
    this.natural = this.nominal;
    count(this, this.natural);
  }

  // A path as seen from the UNet, which may lie inside a sampling stage.
  inU(path) {
    const around = this.stage ? `${this.nodes[this.stage.unet].path}/` : "";
    return path.startsWith(around) ? path.slice(around.length) : path;
  }

  ancestors(id) {
    const chain = [];
    for (let node = this.nodes[id]; node && node.parent !== null;) {
      node = this.nodes[node.parent];
      chain.unshift(node.id);
    }
    return chain;
  }

  // The node itself, or its innermost ancestor, that is in a set.
  within(id, set) {
    return [id, ...this.ancestors(id).reverse()].find((one) => set.has(one)) ?? null;
  }

  inside(id) {
    return [id, ...this.nodes[id].children.flatMap((child) => this.inside(child))];
  }

  segment(id) {
    return this.nodes[id].path.split("/").pop();
  }

  // Calls in which Netron can stand: a group has no function of its own.
  scopeOf(id) {
    return (
      this.ancestors(id)
        .filter((one) => this.nodes[one].kind === "call")
        .pop() ?? null
    );
  }

  // What is drawn when a call (or the graph, for null) is open in Netron.
  members(scope) {
    const children = scope === null ? this.top : this.nodes[scope].children;
    return children.flatMap((id) =>
      this.nodes[id].kind === "group" ? this.members(id) : [id],
    );
  }

  className(node) {
    return (node.class ?? "").split(".").pop();
  }

  outShape(id) {
    const out = this.nodes[id].out[0];
    return out === undefined ? null : this.values[out].shape;
  }

  search(query, limit = 80) {
    const words = query
      .toLowerCase()
      .split(/\s+/)
      .filter(Boolean)
      .map((word) => SYNONYMS[word] ?? word);
    if (words.length === 0) {
      return [];
    }
    const scored = [];
    for (const node of this.nodes) {
      const fields = {
        name: `${node.path} ${node.name} ${node.module}`.toLowerCase(),
        role: `${node.role} ${node.role.replace(/_/g, "-")} ${node.role.replace(/_/g, " ")}`,
        class: (node.class ?? "").toLowerCase(),
        op: node.op.toLowerCase(),
      };
      const all = Object.values(fields).join("\n");
      const fits = words.every((word) => {
        const [, field, rest] = /^(name|role|class|op):(.*)$/.exec(word) ?? [];
        return field ? fields[field].includes(rest) : all.includes(word);
      });
      if (fits) {
        const exact = fields.op === words[0] || fields.role.split(" ")[0] === words[0];
        scored.push([exact ? 0 : 1, node.path.split("/").length, node.id]);
      }
    }
    scored.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]);
    return Object.assign(
      scored.slice(0, limit).map(([, , id]) => id),
      { total: scored.length },
    );
  }
}
