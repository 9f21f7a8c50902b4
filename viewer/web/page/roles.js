// The roles of docs/FORMAT.md: a label, a letter that says it without colour, a sentence.

export const ROLES = {
  time_embedding: ["time embedding", "T", "the timestep becoming a vector"],
  time_injection: ["time injection", "t", "where the time vector is added to the image"],
  text: ["text", "W", "the text before any attention"],
  cross_attention: [
    "cross-attention",
    "X",
    "queries from the image, keys and values from the text",
  ],
  self_attention: ["self-attention", "S", "queries, keys and values from the image"],
  joint_attention: ["joint attention", "J", "keys and values from text and image together"],
  skip: ["skip", "C", "the Concat that takes a skip connection"],
  condition: ["condition", "+", "where a residual of a ControlNet or an adapter is added"],
  lora: ["low-rank branch", "L", "a LoRA's two factors beside a layer"],
  resnet: ["resnet", "R", "a residual block that receives the time"],
  feed_forward: ["feed-forward", "F", "the MLP of a transformer block"],
  transformer: ["transformer", "M", "the image becoming tokens and back"],
  downsample: ["downsample", "↓", "resolution halves"],
  upsample: ["upsample", "↑", "resolution doubles"],
  conv_in: ["conv in", "I", "image to features"],
  conv_out: ["conv out", "O", "features to prediction"],
  block: ["block", "B", "holds several of these"],
  shape: ["shape", "#", "bookkeeping that no data passes through"],
};

export function roleLabel(role) {
  return ROLES[role]?.[0] ?? role ?? "";
}

export function roleLetter(role) {
  return ROLES[role]?.[1] ?? "·";
}

export function roleClass(role) {
  return ROLES[role] ? `role-${role}` : "role-none";
}
