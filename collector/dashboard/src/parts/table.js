/** Tables: columns that sort, rows that lead on, and the same figures as a file. */

import { html } from "htm/preact";
import { useState } from "preact/hooks";
import { change, query } from "../address.js";
import { t } from "../words.js";
import { Figure } from "./figure.js";

/**
 * `columns` are {key, title, unit, value(row), show(row), text}: `value` is what is sorted and saved
 * (row[key] by default), `show` what is drawn (the figure in `unit`, or the text, by default). `text` columns
 * are left-aligned. `sort` is the parameter of the address that keeps the order (none: rows stay as they
 * come); `first` is the column sorted by at first. `rowKey(row)` tells rows apart. Of many rows the first
 * `most` show until one asks for all. With `stack` each row is a list of its cells on a phone: for tables
 * whose last columns must not be missed. The roles are those that elements lose when they are no table.
 */
export function Table({ columns, rows, rowKey, sort, first, label, leftOut = 0, wide = true, most = 25, stack = false }) {
  const order = sort ? orderOf(query.value[sort] ?? first, columns) : null;
  const [all, setAll] = useState(false);
  const sorted = order ? [...rows].sort(comparing(order)) : rows;
  const shown = all ? sorted : sorted.slice(0, most);
  const role = (name) => (stack ? name : null);
  return html`<div class=${wide ? `table ${stack ? "stack" : ""}` : ""} tabindex=${wide ? 0 : null} role=${wide ? "region" : null} aria-label=${wide ? label : null}>
    <table aria-label=${label} role=${role("table")}>
      <thead role=${role("rowgroup")}><tr role=${role("row")}>
        ${columns.map((column) => html`<${Head} key=${column.key} column=${column} order=${order} sort=${sort} />`)}
      </tr></thead>
      <tbody role=${role("rowgroup")}>
        ${shown.map(
          (row, index) => html`<tr key=${rowKey?.(row) ?? index} role=${role("row")}>
            ${columns.map((column) => html`<td key=${column.key} class=${column.text ? "text" : ""} role=${role("cell")} data-title=${stack ? column.title : null}>${drawn(column, row)}</td>`)}
          </tr>`,
        )}
      </tbody>
    </table>
    ${shown.length < sorted.length && html`<button class="quiet" onClick=${() => setAll(true)}>${t("table.all", { count: sorted.length })}</button>`}
    ${leftOut > 0 && html`<p class="hint">${t("table.leftOut", { count: leftOut })}</p>`}
  </div>`;
}

function Head({ column, order, sort }) {
  const kind = column.text ? "text" : "";
  if (!order || column.sorts === false || !column.title) return html`<th scope="col" class=${kind}>${column.title}</th>`;
  const isOrder = order.column === column;
  const next = isOrder && order.down !== Boolean(column.text) ? (column.text ? `-${column.key}` : `+${column.key}`) : column.key;
  return html`<th scope="col" class=${kind} aria-sort=${isOrder ? (order.down ? "descending" : "ascending") : null}>
    <button onClick=${() => change({ [sort]: next })}>${column.title}${isOrder && html`<i aria-hidden="true">${order.down ? "↓" : "↑"}</i>`}</button>
  </th>`;
}

/** Return what a text such as "p95" (its usual way), "+p95" (least first) or "-name" means. */
function orderOf(text = "", columns) {
  const column = columns.find((each) => each.key === text.replace(/^[+-]/, "")) ?? columns[0];
  const sign = text[0];
  return { column, down: sign === "+" ? false : sign === "-" ? true : !column.text };
}

const valueOf = (column, row) => (column.value ? column.value(row) : row[column.key]);

function comparing({ column, down }) {
  return (a, b) => {
    const [one, other] = [valueOf(column, a), valueOf(column, b)];
    // What is not there comes last, whichever way.
    if (one === null || one === undefined) return other === null || other === undefined ? 0 : 1;
    if (other === null || other === undefined) return -1;
    const way = typeof one === "string" ? one.localeCompare(other, undefined, { numeric: true }) : one - other;
    return down ? -way : way;
  };
}

function drawn(column, row) {
  if (column.show) return column.show(row);
  const value = valueOf(column, row);
  return column.text ? html`<bdi>${value}</bdi>` : html`<${Figure} value=${value} unit=${column.unit} />`;
}

/** Return the rows of a table for `CsvButton`. */
export function rowsOf(columns, rows) {
  const kept = columns.filter((each) => each.key);
  return [kept.map((each) => (each.unit ? `${each.title} (${each.unit})` : each.title)), ...rows.map((row) => kept.map((each) => plain(valueOf(each, row))))];
}

const plain = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : value);
