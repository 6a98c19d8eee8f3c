/** Requests by time and duration: a cell opens the requests that were kept in it. */

import { html } from "htm/preact";
import { useMemo, useRef, useState } from "preact/hooks";
import { number, written } from "../figures.js";
import { moment } from "../times.js";
import { t } from "../words.js";
import { colour, drawing, Plot } from "./plot.js";

/** `map` is the answer of /heatmap; `open({fromMs, toMs, lower, upper})` is called for a chosen cell. */
export function Heatmap({ map, open, height = 240, label, spans, marks }) {
  const [cell, setCell] = useState(null);
  const plot = useRef(null);
  const latest = useRef({});
  const stepMs = (typeof map.step === "number" ? map.step : 86_400) * 1000;
  const times = useMemo(() => map.times.map((each) => Date.parse(each)), [map]);
  const most = useMemo(() => Math.max(1, ...map.counts.flat()), [map]);
  latest.current = { map, times, stepMs, most, cell, spans, marks };
  const rows = map.lower.length;
  const own = {
    unit: "ms",
    height,
    points: { show: false },
    series: [{}, { label: "", stroke: "transparent", points: { show: false } }],
    // Rows are evenly spaced: buckets grow by a factor, so that this is a scale of logarithms.
    yRange: () => [0, rows],
    yAxis: {
      splits: () => splitsOf(rows),
      values: (_, splits) => splits.map((row) => written(row < rows ? map.lower[row] : map.upper[rows - 1], "ms")),
      grid: { show: false },
    },
    hooks: { draw: [(shown) => paint(shown, latest.current), drawing(() => ({ spans: latest.current.spans, marks: latest.current.marks }))] },
  };
  const shape = JSON.stringify([rows, map.lower[0], map.upper.at(-1)]);
  const data = useMemo(() => [times.map((each) => each / 1000), times.map(() => null)], [times]);

  function choose(next) {
    setCell(next);
    plot.current?.redraw(false);
  }
  const under = (event) => cellUnder(plot.current, event, times, stepMs, rows);
  function opened(found) {
    if (found && map.counts[found.column][found.row]) {
      const fromMs = times[found.column];
      open({ fromMs, toMs: fromMs + stepMs, lower: map.lower[found.row], upper: map.upper[found.row] });
    }
  }
  function ready(made) {
    plot.current = made;
    made.over.addEventListener("mousemove", (event) => choose(under(event)));
    made.over.addEventListener("mouseleave", () => choose(null));
    made.over.addEventListener("click", (event) => opened(under(event)));
  }
  function pressed(event) {
    const [dx, dy] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key] ?? [];
    if (event.key === "Enter") return opened(cell);
    if (dx === undefined || !times.length) return;
    event.preventDefault();
    event.stopPropagation();
    const from = cell ?? { column: times.length - 1, row: 0 };
    choose({ column: Math.min(Math.max(from.column + dx, 0), times.length - 1), row: Math.min(Math.max(from.row + dy, 0), rows - 1) });
  }
  return html`<figure class="chart heat" onKeyDownCapture=${pressed}>
    <${Plot} data=${data} own=${own} shape=${shape} label=${t("heatmap.described", { label, count: map.requests, number: number(map.requests) })} onReady=${ready} />
    <figcaption class="legend" role="status">${cell ? saidOf(cell, latest.current) : t("heatmap.hint")}</figcaption>
  </figure>`;
}

/** Return the cell below a pointer, or null. */
function cellUnder(plot, event, times, stepMs, rows) {
  const box = plot.over.getBoundingClientRect();
  const ms = plot.posToVal(event.clientX - box.left, "x") * 1000;
  const column = times.findIndex((each) => each <= ms && ms < each + stepMs);
  const row = Math.floor(plot.posToVal(event.clientY - box.top, "y"));
  return column >= 0 && row >= 0 && row < rows ? { column, row } : null;
}

function saidOf({ column, row }, { map, times }) {
  const count = map.counts[column]?.[row] ?? 0;
  return t("heatmap.cell", { time: moment(times[column]), lower: written(map.lower[row], "ms"), upper: written(map.upper[row], "ms"), count, number: number(count) });
}

function splitsOf(rows) {
  const every = Math.max(1, Math.ceil(rows / 6));
  return Array.from({ length: Math.floor(rows / every) + 1 }, (_, index) => index * every);
}

function paint(plot, { map, times, stepMs, most, cell }) {
  const { ctx } = plot;
  const x = (ms) => Math.round(plot.valToPos(ms / 1000, "x", true));
  const y = (row) => Math.round(plot.valToPos(row, "y", true));
  const scale = Math.log1p(most);
  const { left: edge, top, width: across, height: down } = plot.bbox;
  ctx.save();
  ctx.beginPath();
  ctx.rect(edge, top, across, down);
  ctx.clip();
  ctx.fillStyle = colour("accent");
  map.counts.forEach((counts, column) => {
    const left = x(times[column]);
    const width = Math.max(1, x(times[column] + stepMs) - left - 1);
    counts.forEach((count, row) => {
      if (!count) return;
      // By logarithm: a handful of slow requests must be seen beside a thousand quick ones.
      ctx.globalAlpha = 0.12 + 0.88 * (Math.log1p(count) / scale);
      ctx.fillRect(left, y(row + 1), width, Math.max(1, y(row) - y(row + 1) - 1));
    });
  });
  ctx.globalAlpha = 1;
  if (cell && times[cell.column] !== undefined) {
    const left = x(times[cell.column]);
    ctx.strokeStyle = colour("ink");
    ctx.lineWidth = devicePixelRatio;
    ctx.strokeRect(left, y(cell.row + 1), x(times[cell.column] + stepMs) - left, y(cell.row) - y(cell.row + 1));
  }
  ctx.restore();
}
