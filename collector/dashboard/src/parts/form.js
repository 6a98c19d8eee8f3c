/** Forms: fields with a name, and sending with what the collector says about it. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { saidOf } from "./states.js";

/** Return {busy, error, run}: `run(work)` does something that changes the collector, once at a time. */
export function useSending() {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState(null);
  async function run(work) {
    if (busy) return undefined;
    setBusy(true);
    setError(null);
    try {
      return await work();
    } catch (found) {
      setError(found);
      return undefined;
    } finally {
      setBusy(false);
    }
  }
  return { busy, error, run };
}

/** What the collector said, below a form. */
export const Said = ({ error }) => error && html`<p class="note bad" role="alert">${saidOf(error)}</p>`;

/** A text or number with its name; `set` gets the text. */
export const Field = ({ name, value, set, hint, ...rest }) => html`<label>${name}<input value=${value ?? ""} maxlength="256" spellcheck="false" onInput=${(event) => set(event.target.value)} ...${rest} />${hint && html`<span class="hint">${hint}</span>`}</label>`;

/** One of several; `options` are [value, text]. */
export const Select = ({ name, value, set, options, hint, ...rest }) => html`<label>${name}<select value=${value} onChange=${(event) => set(event.target.value)} ...${rest}>
  ${options.map(([each, text]) => html`<option key=${each} value=${each}>${text}</option>`)}</select>${hint && html`<span class="hint">${hint}</span>`}</label>`;

export const Check = ({ name, value, set, ...rest }) => html`<label class="inline"><input type="checkbox" checked=${value} onChange=${(event) => set(event.target.checked)} ...${rest} />${name}</label>`;

/** Return the parts of a text between commas. */
export const listOf = (text) => text.split(",").map((each) => each.trim()).filter(Boolean);

/**
 * Return the number of a text times `factor`, null for an empty one. Another text stays as it is: the
 * collector says what it expected, where NaN would have been sent as null and taken a line away.
 */
export function numberOf(text, factor = 1) {
  const typed = String(text ?? "").trim();
  if (typed === "") return null;
  const value = Number(typed);
  if (!Number.isFinite(value)) return typed;
  return factor === 1 ? value : Number((value * factor).toPrecision(12));
}
