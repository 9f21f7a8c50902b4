// The roles of docs/FORMAT.md: a label and a sentence.

export const ROLES = {
  time_embedding: ["time embedding", "the timestep becoming a vector"],
  time_injection: ["time injection", "where the time vector is added to the image"],
  text: ["text", "the text before any attention"],
  cross_attention: [
    "cross-attention",
    "queries from the image, keys and values from the text",
  ],
  self_attention: ["self-attention", "queries, keys and values from the image"],
  joint_attention: ["joint attention", "keys and values from text and image together"],
  image_prompt: ["image prompt", "keys and values from the reference image of an IP-Adapter"],
  skip: ["skip", "the Concat that takes a skip connection"],
  condition: ["condition", "where a residual of a ControlNet or an adapter is added"],
  control_image: ["control image", "a ControlNet's image becoming features"],
  zero_convolution: ["zero convolution", "once zeros: what a ControlNet hands on"],
  lora: ["low-rank branch", "a LoRA's two factors beside a layer"],
  resnet: ["resnet", "a residual block that receives the time"],
  feed_forward: ["feed-forward", "the MLP of a transformer block"],
  transformer: ["transformer", "the image becoming tokens and back"],
  downsample: ["downsample", "resolution halves"],
  upsample: ["upsample", "resolution doubles"],
  conv_in: ["conv in", "image to features"],
  conv_out: ["conv out", "features to prediction"],
  block: ["block", "holds several of these"],
  shape: ["shape", "bookkeeping that no data passes through"],
};

// What enters the image in an attention of a role, beside the image itself: a flow of atlas.values.
const DOORS = { cross_attention: "text", joint_attention: "text", image_prompt: "prompt" };

export function doorOf(role) {
  return DOORS[role];
}

export function roleLabel(role) {
  return ROLES[role]?.[0] ?? role ?? "";
}

export function roleClass(role) {
  return ROLES[role] ? `role-${role}` : "role-none";
}
