// Views that leave the page: saved from its menu, or handed to the viewer that asked for them.

import { blob, download, stamped, standalone } from "./exporting.js";

export async function exportAs(app, menu) {
  const [kind, format] = menu.value.split("-");
  menu.value = "";
  const name = `${app.atlas.name.replace(/[^\w.-]+/g, "_")}${kind === "page" ? "" : `-${kind}`}.${format}`;
  if (kind === "page") {
    download(name, await (await fetch("/offline.html")).blob());
    return;
  }
  const found = await figure(app, kind);
  if (found) {
    download(name, await blob(found, format));
  } else {
    app.say("This panel has no figure: open Attention or Time.");
  }
}

export async function figure(app, kind) {
  const note = app.atlas.weights_note;
  if (kind === "graph") {
    return stamped(await app.graphs.current.figure(), note);
  }
  const found =
    kind === "map"
      ? app.parts.maps.querySelector(".current svg.map")
      : app.parts.panel.querySelector("svg.figure");
  return found && stamped(standalone(found), note);
}

// A headless browser draws one view and hands it back to the viewer that started it.
export async function deliver(app, order) {
  const kind = order.get("export");
  while (kind === "graph" && document.documentElement.dataset.ready !== "graph") {
    await new Promise((resolve) => {
      window.setTimeout(resolve, 50);
    });
  }
  const found = await figure(app, kind);
  const body = found ? await blob(found, order.get("format")) : "";
  await fetch(`/export/${order.get("token")}`, { method: "POST", body });
}
