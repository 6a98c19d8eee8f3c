/** One request to the collector and its envelope; `api.js` adds who asks. */

import { signal } from "@preact/signals";
import { hear } from "./servertime.js";

/** Whether the collector answered what it was last asked. */
export const answers = signal(true);

/** The collector refused: its status, code and message, and after how many seconds to ask again. */
export class Refused extends Error {
  constructor(status, error, retryAfter) {
    super(error?.message ?? `HTTP ${status}`);
    this.name = "Refused";
    this.status = status;
    this.code = error?.code ?? "unknown";
    this.details = error?.details ?? {};
    this.retryAfter = retryAfter;
  }
}

/** The collector did not answer, or what answered was not the collector. */
export class Unreachable extends Error {
  constructor(cause) {
    super("unreachable", { cause });
    this.name = "Unreachable";
  }
}

/** Return the query text of parameters; empty ones are left out. */
export function queryOf(parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value === undefined || value === null || value === "") continue;
    query.set(name, Array.isArray(value) ? value.join(",") : String(value));
  }
  const text = query.toString();
  return text && `?${text}`;
}

/**
 * Return the `data` of one answer, which may be up to `oldestS` seconds old; rejects with Refused, Unreachable
 * or AbortError.
 */
export async function fetched(address, options, oldestS = 0) {
  const askedMs = Date.now();
  let answer;
  let envelope;
  try {
    answer = await fetch(address, { credentials: "same-origin", cache: "no-store", ...options });
    envelope = await answer.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    answers.value = false;
    throw new Unreachable(error);
  }
  answers.value = Boolean(envelope?.timestamp);
  if (answers.value) hear(envelope.timestamp, askedMs, oldestS);
  if (answer.ok && envelope?.success) return envelope.data;
  if (!envelope?.error) throw new Unreachable(new Error(`HTTP ${answer.status}`));
  throw new Refused(answer.status, envelope.error, Number(answer.headers.get("Retry-After")) || 0);
}
