// What the overlay knows of Netron's page: its view, our rows, and what is drawn and asked for.

export const now = {
  view: null,
  atlas: null,
  members: new Map(), // nodes that Netron draws, to numbers of ours
  scope: null, // the call of ours that is open
  wanted: null, // what is to be selected once it is drawn
  lit: null,
  hidden: new Set(),
};
