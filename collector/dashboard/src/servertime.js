/**
 * The collector's clock, by which the page lives: a viewer's clock may be off by hours.
 *
 * Each answer says when it was made, which was between the question and its arrival. So long as that fits
 * what is known of the difference it stays: a viewer whose clock is right is never moved by a slow network.
 */

import { signal } from "@preact/signals";

/** By how many ms the collector's clock is ahead of this browser's. */
export const aheadMs = signal(0);

/** Return the collector's time in ms. */
export const serverNow = () => Date.now() + aheadMs.peek();

/** Take an answer's `timestamp`, asked for at `askedMs` of this browser; it may be `oldestS` seconds older. */
export function hear(timestamp, askedMs, oldestS = 0) {
  const at = Date.parse(timestamp);
  const heardMs = Date.now();
  // This browser's clock was put back meanwhile: nothing is known.
  if (Number.isNaN(at) || heardMs < askedMs) return;
  const ahead = aheadMs.peek();
  aheadMs.value = Math.max(at - heardMs, Math.min(ahead, at + oldestS * 1000 - askedMs));
}
