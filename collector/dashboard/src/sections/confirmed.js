/** A change that is asked about first, as it cannot be undone. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { renewAll } from "../answers.js";
import { ask } from "../api.js";
import { Confirm } from "../parts/dialog.js";
import { useSending } from "../parts/form.js";

/**
 * Return {start, dialog, error, run}: `start({title, text, work})` asks in `dialog`, which is to be shown, then
 * does the work; `error` is what went wrong. What is shown is asked for anew, and `then()` called.
 */
export function useConfirmed(then) {
  const [asked, setAsked] = useState(null);
  const { error, run } = useSending();
  async function go() {
    setAsked(null);
    if (!(await run(asked.work))) return;
    renewAll();
    then?.();
  }
  const dialog = asked && html`<${Confirm} title=${asked.title} text=${asked.text} action=${asked.title} close=${() => setAsked(null)} run=${go} />`;
  return { start: setAsked, dialog, error, run };
}

/** Return the path of one thing of many, such as a rule by its id. */
export const placed = (path, id) => `${path}/${encodeURIComponent(id)}`;

/** Return the work that deletes one thing of many. */
export const deleting = (path, id) => () => ask(placed(path, id), {}, { method: "DELETE" });
