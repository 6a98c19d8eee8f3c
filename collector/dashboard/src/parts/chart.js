/** Lines, bands and stacked areas over time, with a legend that shows values and isolates. */

import { html } from "htm/preact";
import { useMemo, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { written } from "../figures.js";
import { moment } from "../times.js";
import { t } from "../words.js";
import { CsvButton } from "./csv.js";
import { colour, drawing, Plot } from "./plot.js";

/**
 * `times` are in ms; `series` are {key, title, values, colour (of theme.css), kind}: "line" (the default),
 * "thin", "strong", "bars", "area" (stacked upon those before it), "band" (filled from the series `to`).
 * Values are numbers or null, in `unit`. `spans`, `marks`, `lines` come from `useMoments`. `floor` is the
 * least top of the scale, which begins at 0 unless `from0` is false. Without `legend` there are no names of
 * series and no file to save, `file` is its name.
 */
export function Chart({ times, series, unit, label, height = 260, spans, marks, lines, floor = 0, from0 = true, legend = true, file = label }) {
  const [alone, setAlone] = useState(null);
  const [at, setAt] = useState(null);
  const happened = useRef({});
  happened.current = { spans, marks, lines };
  const seen = series.filter((each) => alone === null || each.key === alone);
  const data = useMemo(() => columns(times, seen), [times, series, alone]);
  const shape = JSON.stringify([unit, floor, from0, seen.map((each) => [each.key, each.kind, each.colour, each.to])]);
  const own = {
    unit,
    height,
    series: [{}, ...seen.map(drawn)],
    bands: bandsOf(seen),
    yRange: (_, low, high) => scaleOf(low, high, floor, from0),
    hooks: { drawClear: [], draw: [drawing(() => happened.current)] },
  };
  return html`<figure class="chart">
    ${legend && html`<${Legend} series=${series} alone=${alone} choose=${(key) => setAlone(alone === key ? null : key)} unit=${unit} at=${at} times=${times}
      tools=${file && html`<${CsvButton} name=${file} rows=${() => fileOf(times, series, unit)} />`} />`}
    <${Plot} data=${data} own=${own} shape=${shape} label=${described(label, times, series, unit)} onCursor=${setAt} />
  </figure>`;
}

/** Return uPlot's columns: areas are added up from the bottom, so that each stands on the one before. */
function columns(times, series) {
  const sums = times.map(() => 0);
  return [
    times.map((each) => each / 1000),
    ...series.map((each) =>
      each.kind === "area" ? each.values.map((value, index) => (value === null ? null : (sums[index] += value))) : each.values,
    ),
  ];
}

function drawn(each) {
  const stroke = colour(each.colour ?? "accent");
  const shared = { label: each.title, stroke, points: { show: true, size: 4, fill: stroke, filter: lonely }, spanGaps: false };
  switch (each.kind) {
    case "area":
      return { ...shared, width: 0, fill: colour(each.colour, 0.85) };
    case "band":
      return { ...shared, width: 1, stroke: colour(each.colour ?? "accent", 0.55) };
    case "strong":
      return { ...shared, width: 2 };
    case "bars":
      return { ...shared, width: 0, fill: stroke, paths: uPlot.paths.bars({ size: [0.8, 24] }) };
    case "thin":
      return { ...shared, width: 1.2, stroke: colour(each.colour, 0.8) };
    default:
      return { ...shared, width: 1.5 };
  }
}

/** Return the places of values without a neighbour, of which no line is drawn. */
function lonely(plot, index) {
  const values = plot.data[index];
  const found = [];
  values.forEach((value, at) => {
    if (value !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null) found.push(at);
  });
  return found;
}

/** Bands lie between two series: percentiles between p50 and p95, an area upon the area below it. */
function bandsOf(series) {
  const bands = [];
  let below = -1;
  series.forEach((each, index) => {
    if (each.kind === "band") {
      const to = series.findIndex((other) => other.key === each.to);
      if (to >= 0) bands.push({ series: [index + 1, to + 1], fill: colour(each.colour ?? "accent", 0.2) });
    } else if (each.kind === "area") {
      if (below >= 0) bands.push({ series: [index + 1, below + 1], fill: colour(each.colour, 0.85) });
      below = index;
    }
  });
  return bands;
}

function scaleOf(low, high, floor, from0) {
  const least = from0 ? 0 : (low ?? 0);
  const most = Math.max(high ?? 0, floor, from0 ? 0 : least);
  const spread = most - least || Math.abs(most) || 1;
  return [from0 ? 0 : least - spread * 0.05, most + spread * 0.08];
}

function Legend({ series, alone, choose, unit, at, times, tools }) {
  const shown = at !== null && at < times.length;
  function copy() {
    const lines = series.map((each) => `${each.title}\t${written(each.values[at], unit)}`);
    navigator.clipboard?.writeText([moment(times[at]), ...lines].join("\n"));
  }
  return html`<figcaption class="legend"><span class="names">
    ${series.map(
      (each) => html`<button key=${each.key} aria-pressed=${alone === each.key} class=${alone !== null && alone !== each.key ? "off" : ""} title=${t("chart.isolate")} onClick=${() => choose(each.key)}>
        <i class=${`swatch ${each.kind ?? "line"} ${each.colour ?? "accent"}`}></i><bdi>${each.title}</bdi>${shown && html` <b>${written(each.values[at], unit)}</b>`}
      </button>`,
    )}</span>
    ${shown && html`<time>${moment(times[at])}</time><button class="quiet" onClick=${copy}>${t("chart.copy")}</button>`}
    ${tools}
  </figcaption>`;
}

function fileOf(times, series, unit) {
  return [
    [t("chart.time"), ...series.map((each) => `${each.title} (${unit})`)],
    ...times.map((time, index) => [new Date(time).toISOString(), ...series.map((each) => each.values[index])]),
  ];
}

/** Return the chart in a sentence, for those who do not see it. */
function described(label, times, series, unit) {
  const lasts = series.map((each) => `${each.title} ${written(each.values.findLast((value) => value !== null), unit)}`);
  return times.length ? t("chart.described", { label, values: lasts.join(", ") }) : `${label}: ${t("chart.nothing")}`;
}
