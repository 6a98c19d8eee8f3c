// The page; the collector serves it at /performance/dashboard.
import { html, render } from "htm/preact";
import "./main.css";

render(html`<h1>trimtab</h1>`, document.getElementById("app"));
