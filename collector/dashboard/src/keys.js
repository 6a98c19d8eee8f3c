/** Keys: `?` lists them. A page adds its own while it is there. */

import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";

/** Key -> {does (key of a text), run}, in the order in which they are listed. */
export const keys = signal([]);

/** Have keys while a component is there: a list of [keys, key of a text, function]. */
export function useKeys(list) {
  useEffect(() => {
    const own = list.map(([text, does, run]) => ({ text, does, run }));
    keys.value = [...keys.peek(), ...own];
    return () => {
      keys.value = keys.peek().filter((each) => !own.includes(each));
    };
  }, []);
}

const WRITING = "input, textarea, select, [contenteditable]";
let before = "";
let beforeMs = 0;

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest?.(WRITING) || document.querySelector("dialog[open]")) return;
  const pair = event.timeStamp - beforeMs < 1000 ? `${before} ${event.key}` : "";
  // The latest come first: a page may have a key that the shell has, too.
  const found = keys.value.findLast((each) => each.text === pair) ?? keys.value.findLast((each) => each.text === event.key);
  before = event.key;
  beforeMs = event.timeStamp;
  if (!found) return;
  event.preventDefault();
  found.run(event);
});
