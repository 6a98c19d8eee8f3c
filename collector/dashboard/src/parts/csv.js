/** Figures as a file: what is shown, in the units of the API, for a spreadsheet. */

import { html } from "htm/preact";
import { t } from "../words.js";

/** Return rows (lists of texts, numbers or null) as CSV (RFC 4180). */
function csvOf(rows) {
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

function cell(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "";
  let text = String(value);
  // A name of an app that begins like a formula would be one in a spreadsheet.
  if (typeof value === "string" && /^(\s*[=+\-@\uff0b\uff0d\uff1d\uff20]|[\t\r\n])/.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A button that saves a file; `rows` is a function that returns them with a first row of names. */
export function CsvButton({ name, rows }) {
  function save() {
    const address = URL.createObjectURL(new Blob(["\ufeff", csvOf(rows())], { type: "text/csv" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = `${name.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10_000);
  }
  return html`<button class="quiet" onClick=${save} aria-label=${t("csv.save", { name })}>CSV</button>`;
}
