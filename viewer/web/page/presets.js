// Traces worth choosing: the time, the text, a reference image, each skip.

import { doorOf } from "./roles.js";

// The presets that this graph allows: [label, from, to, through].
export function presets(atlas) {
  const flow = (name) => atlas.inputs.find((id) => atlas.values[id].flow === name);
  const output = atlas.outputs[0];
  const found = [];
  const [time, text] = [flow("time"), flow("text")];
  const name = (id) => atlas.values[id]?.name;
  if (time !== undefined && output !== undefined) {
    found.push({
      label: `How does ${name(time)} reach ${name(output)}?`,
      from: name(time),
      to: name(output),
    });
  }
  if (text !== undefined && atlas.attentions.some((one) => doorOf(one.role) === "text")) {
    found.push({ label: "Where does the text enter?", from: name(text), to: name(output) });
  }
  for (const id of atlas.inputs.filter((one) => atlas.values[one].flow === "prompt")) {
    const label = `How does the reference image ${name(id)} reach ${name(output)}?`;
    found.push({ label, from: name(id), to: name(output) });
  }
  for (const skip of atlas.skips) {
    if (skip.value !== null) {
      found.push({
        label: `Follow skip ${skip.id}`,
        from: `#${skip.value}`,
        to: `#${atlas.nodes[skip.sink].out[0]}`,
        skip: skip.id,
      });
    }
  }
  return found;
}
