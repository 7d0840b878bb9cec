import "@xterm/xterm/css/xterm.css";
import "./styles/tokens.css";
import "./styles/parts.css";
import { mount } from "svelte";
import App from "./App.svelte";
import { applyTheme } from "./lib/theme.ts";

applyTheme();
const target = document.getElementById("page");
if (!target) throw new Error("index.html has no #page");
// What the server put there is for whoever runs no scripts.
target.replaceChildren();
mount(App, { target });
