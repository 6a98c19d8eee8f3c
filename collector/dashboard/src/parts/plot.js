/**
 * What every chart has: uPlot with axes in the viewer's zone and units, one crosshair for the page, drag to
 * zoom, and what happened drawn into it (marks, alerts, thresholds).
 */

import uPlot from "uplot";
import { html } from "htm/preact";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { short } from "../figures.js";
import { bounds, widen, zoom } from "../range.js";
import { isDark, zone } from "../settings.js";
import { shown } from "../times.js";
import { locale } from "../words.js";

const DAY_S = 86_400;
/** All charts of a page show the same moment. */
const CROSSHAIR = uPlot.sync("page");
/** Steps of an axis of bytes, so that its labels are whole KiB and MiB. */
const BYTE_STEPS = Array.from({ length: 50 }, (_, power) => 2 ** power);
const FONT = '11px ui-sans-serif, system-ui, "Segoe UI", Roboto, "Noto Sans", "Noto Sans KR", sans-serif';

/** Return the value of a colour of main.css, such as "accent". */
export function colour(name, alpha = 1) {
  const value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  if (alpha === 1 || !value.startsWith("#")) return value;
  return `${value.slice(0, 7)}${Math.round(alpha * 255).toString(16).padStart(2, "0")}`;
}

/** Return the labels of times (s) on an axis whose steps are `incrS` wide. */
function timeLabels(splits, incrS) {
  let day = "";
  return splits.map((time) => {
    const at = time * 1000;
    const date = shown(at, { month: "short", day: "numeric" });
    const isNewDay = day !== "" && day !== date;
    day = date;
    if (incrS >= DAY_S) return date;
    if (isNewDay && incrS >= 1800) return date;
    return shown(at, { hour: "2-digit", minute: "2-digit", ...(incrS < 60 && { second: "2-digit" }) });
  });
}

/** Return the options that all charts share; `own` has what one adds: series, scales, hooks, unit. */
function optionsOf(own, width, element) {
  const ink = colour("ink3");
  const line = colour("line");
  const axis = { stroke: ink, font: FONT, ticks: { show: false } };
  return {
    width,
    height: own.height,
    series: own.series,
    bands: own.bands,
    scales: { x: { time: true, range: () => bounds().map((ms) => ms / 1000) }, y: { range: own.yRange, ...own.yScale } },
    axes: [
      { ...axis, grid: { show: false }, space: 90, gap: 6, size: 28, values: (_, splits, __, ___, incr) => timeLabels(splits, incr) },
      { ...axis, grid: { stroke: line, width: 1 }, gap: 6, ...(own.unit === "bytes" && { incrs: BYTE_STEPS }), space: own.height < 160 ? 26 : 42, size: sized, values: (_, splits) => splits.map((each) => (each === null ? "" : short(each, own.unit))), ...own.yAxis },
    ],
    legend: { show: false },
    focus: { alpha: 0.25 },
    cursor: {
      y: false,
      points: own.points ?? { size: 6 },
      drag: { x: true, y: false, setScale: false },
      bind: { dblclick: () => () => (widen(), null) },
      sync: { key: CROSSHAIR.key, setSeries: false },
    },
    tzDate: (time) => uPlot.tzDate(new Date(time * 1000), zone.value),
    // The last label of time is centred on its line: half of it has to fit beside the plot.
    padding: [12, 20, 0, 0],
    hooks: {
      setSelect: [
        (plot) => {
          if (plot.select.width < 4) return;
          const [from, to] = [plot.select.left, plot.select.left + plot.select.width].map((x) => plot.posToVal(x, "x") * 1000);
          plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          zoom(from, to);
        },
      ],
      setCursor: [(plot) => element.dispatchEvent(new CustomEvent("cursor", { detail: plot.cursor.idx ?? null }))],
      ...own.hooks,
    },
  };
}

/** Return the width of the axis of values: as wide as its longest label. */
function sized(plot, values, _axis, cycle) {
  if (cycle > 1 || !values?.length) return plot.axes[1]._size ?? 44;
  plot.ctx.font = FONT;
  return Math.ceil(Math.max(...values.map((each) => plot.ctx.measureText(each ?? "").width))) + 12;
}

/**
 * A plot of `data` (uPlot's columns, times in s first). `own` describes it (series, height, unit, ...),
 * and `shape` is a text that differs when it must be made anew. `onCursor(index|null)` hears where the
 * crosshair is, `onReady(plot)` gets the plot.
 */
export function Plot({ data, own, shape, label, onCursor, onReady, onOpen }) {
  const place = useRef(null);
  const plot = useRef(null);
  const latest = useRef({});
  latest.current = { data, onCursor, onReady, onOpen };
  const made = `${shape} ${isDark.value} ${zone.value} ${locale.value} ${own.height}`;

  useLayoutEffect(() => {
    const element = place.current;
    const heard = (event) => latest.current.onCursor?.(event.detail);
    element.addEventListener("cursor", heard);
    plot.current = new uPlot(optionsOf(own, Math.max(element.clientWidth, 120), element), latest.current.data, element);
    latest.current.onReady?.(plot.current);
    const sizes = new ResizeObserver(() => {
      const width = Math.max(element.clientWidth, 120);
      if (width !== plot.current.width) plot.current.setSize({ width, height: own.height });
    });
    sizes.observe(element);
    return () => {
      sizes.disconnect();
      element.removeEventListener("cursor", heard);
      plot.current.destroy();
      plot.current = null;
    };
  }, [made]);

  useEffect(() => {
    plot.current?.setData(data);
  }, [data, made]);

  function pressed(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const shownPlot = plot.current;
    if (!shownPlot) return;
    if (event.key === "Enter") return void latest.current.onOpen?.(shownPlot.cursor.idx);
    if (event.key === "Escape") return void shownPlot.setCursor({ left: -10, top: -10 });
    if (!step) return;
    event.preventDefault();
    const times = shownPlot.data[0];
    if (!times.length) return;
    const from = shownPlot.cursor.idx ?? (step > 0 ? -1 : times.length);
    const to = Math.min(Math.max(from + step * (event.shiftKey ? 10 : 1), 0), times.length - 1);
    shownPlot.setCursor({ left: shownPlot.valToPos(times[to], "x"), top: 0 });
  }
  return html`<div class="plot" ref=${place} tabindex="0" role="img" aria-label=${label} onKeyDown=${pressed}></div>`;
}

/** Return a hook that draws thresholds, alerts and marks; `happened` is a function that returns them. */
export function drawing(happened) {
  return (plot) => {
    const { spans = [], marks = [], lines = [] } = happened();
    const { ctx, bbox } = plot;
    const ratio = devicePixelRatio;
    const x = (ms) => plot.valToPos(ms / 1000, "x", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.font = FONT.replace("11px", `${11 * ratio}px`);
    for (const span of spans) {
      const from = Math.max(x(span.fromMs), bbox.left);
      ctx.fillStyle = colour(span.severity === "critical" ? "crit" : "warn", 0.09);
      ctx.fillRect(from, bbox.top, Math.max(x(span.toMs) - from, ratio), bbox.height);
    }
    for (const line of lines) {
      const y = Math.round(plot.valToPos(line.value, "y", true));
      if (y < bbox.top || y > bbox.top + bbox.height) continue;
      stroke(ctx, colour(line.severity === "critical" ? "crit" : "warn"), [2 * ratio, 4 * ratio], bbox.left, y, bbox.left + bbox.width, y);
      ctx.fillStyle = colour(line.severity === "critical" ? "crit" : "warn");
      ctx.textAlign = "left";
      ctx.fillText(line.text, bbox.left + 4 * ratio, y - 5 * ratio);
    }
    labelled(ctx, bbox, ratio, marks.map((mark) => ({ ...mark, x: Math.round(x(mark.atMs)) })));
    ctx.restore();
  };
}

/** Draw marks; of labels that would lie over one another deploys win: they are what one looks for. */
function labelled(ctx, bbox, ratio, marks) {
  const seen = marks.filter((mark) => mark.x >= bbox.left && mark.x <= bbox.left + bbox.width);
  const taken = [];
  ctx.textAlign = "left";
  for (const mark of [...seen].sort((a, b) => (b.isDeploy ?? false) - (a.isDeploy ?? false))) {
    stroke(ctx, colour("ink3"), [3 * ratio, 3 * ratio], mark.x, bbox.top, mark.x, bbox.top + bbox.height);
    const width = ctx.measureText(mark.text).width;
    const left = Math.min(mark.x + 5 * ratio, bbox.left + bbox.width - width);
    if (taken.some(([from, to]) => left < to + 8 * ratio && left + width > from - 8 * ratio)) continue;
    ctx.fillStyle = colour("ink2");
    ctx.fillText(mark.text, left, bbox.top + 10 * ratio);
    taken.push([left, left + width]);
  }
}

function stroke(ctx, style, dash, x1, y1, x2, y2) {
  ctx.strokeStyle = style;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash(dash);
  ctx.beginPath();
  ctx.moveTo(x1, y1);
  ctx.lineTo(x2, y2);
  ctx.stroke();
  ctx.setLineDash([]);
}
