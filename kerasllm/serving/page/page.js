// Chats with the server that this page comes from. What others say is put in as text, never as HTML.
"use strict";

const $ = (id) => document.getElementById(id);
let messages = [];
let stopper = null;

function element(parent, kind, name, text = "") {
  const made = parent.appendChild(document.createElement(kind));
  made.className = name;
  made.textContent = text;
  return made;
}

function turn(role, text) {
  const box = element($("turns"), "div", `turn ${role}`);
  element(box, "div", "who", { user: "You", assistant: $("model").value, tool: "Tool" }[role]);
  const said = element(box, "div", "text", text);
  box.scrollIntoView({ block: "end" });
  return { box, said };
}

function note(text, wrong = false) {
  $("note").textContent = text;
  $("note").className = wrong ? "wrong" : "";
}

function headers() {
  const key = $("key").value;
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
}

async function failed(reply) {
  try {
    return (await reply.json()).error.message;
  } catch {
    return `The server says ${reply.status}.`;
  }
}

async function listModels() {
  try {
    const reply = await fetch("v1/models", { headers: headers() });
    if (!reply.ok) throw new Error(await failed(reply));
    const found = (await reply.json()).data.filter((one) => one.chat);
    const chosen = $("model").value;
    $("model").replaceChildren(...found.map((one) => new Option(one.id, one.id, false, one.id === chosen)));
    note(found.length ? "" : "No model of this server chats.", !found.length);
  } catch (error) {
    note(`${error.message} A key is set under Settings.`, true);
  }
}

async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    let end;
    while ((end = held.indexOf("\n\n")) >= 0) {
      const line = held.slice(0, end);
      held = held.slice(end + 2);
      if (line === "data: [DONE]") return;
      if (line.startsWith("data: ")) yield JSON.parse(line.slice(6));
    }
  }
}

function showSources(box, sources) {
  const list = element(element(box, "div", "sources", "Sources"), "ol", "");
  for (const one of sources) {
    const item = element(list, "li", "");
    const safe = /^https?:/.test(one.url || "");
    const title = element(item, safe ? "a" : "span", "", one.title);
    if (safe) {
      title.href = one.url;
      title.rel = "noreferrer";
    }
    element(item, "div", "").appendChild(document.createElement("q")).textContent = one.text.slice(0, 200);
  }
}

function showCall(box, call) {
  const shown = element(box, "div", "call", `Calls ${call.function.name}`);
  element(shown, "code", "", call.function.arguments);
  const answer = element(shown, "input", "");
  answer.placeholder = "What the tool answers. Enter sends.";
  answer.setAttribute("aria-label", `Answer of ${call.function.name}`);
  answer.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || stopper || answer.readOnly) return;
    answer.readOnly = true;
    messages.push({ role: "tool", tool_call_id: call.id, content: answer.value });
    const asked = messages.filter((one) => one.tool_calls).at(-1).tool_calls;
    if (asked.every((one) => messages.some((other) => other.tool_call_id === one.id))) answerNow();
  });
}

async function answerNow() {
  const { box, said } = turn("assistant", "");
  const reply = { role: "assistant", content: "" };
  const calls = [];
  let tokens = null;
  stopper = new AbortController();
  $("send").hidden = true;
  $("stop").hidden = false;
  note("…");
  try {
    const system = $("system").value.trim();
    const body = {
      model: $("model").value,
      messages: system ? [{ role: "system", content: system }, ...messages] : messages,
      temperature: Number($("temperature").value),
      max_tokens: Number($("tokens").value),
      stream: true,
      stream_options: { include_usage: true },
    };
    if ($("tools").value.trim()) body.tools = JSON.parse($("tools").value);
    const request = { method: "POST", headers: headers(), body: JSON.stringify(body), signal: stopper.signal };
    const answer = await fetch("v1/chat/completions", request);
    if (!answer.ok) throw new Error(await failed(answer));
    for await (const event of events(answer)) {
      if (event.error) throw new Error(event.error.message);
      tokens = event.usage ? event.usage.completion_tokens : tokens;
      const delta = event.choices.length ? event.choices[0].delta : {};
      if (delta.sources?.length) showSources(box, delta.sources);
      if (delta.content) {
        reply.content += delta.content;
        said.textContent = reply.content;
        box.scrollIntoView({ block: "end" });
      }
      calls.push(...(delta.tool_calls || []).map(({ index, ...call }) => call));
    }
    note(tokens === null ? "" : `${tokens} tokens`);
  } catch (error) {
    note(error.name === "AbortError" ? "Stopped." : error.message, error.name !== "AbortError");
  }
  if (calls.length) reply.tool_calls = calls;
  if (reply.content || calls.length) messages.push(reply);
  else {
    box.remove();
    if (messages.length && messages.at(-1).role === "user") {
      $("said").value = messages.pop().content; // to be said again
      $("turns").lastElementChild?.remove();
    }
  }
  for (const call of calls) showCall(box, call);
  stopper = null;
  $("send").hidden = false;
  $("stop").hidden = true;
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("said").value.trim();
  if (!text || stopper) return;
  $("said").value = "";
  messages.push({ role: "user", content: text });
  turn("user", text);
  answerNow();
});
$("said").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("form").requestSubmit();
});
$("stop").addEventListener("click", () => stopper && stopper.abort());
$("reset").addEventListener("click", () => {
  if (stopper) stopper.abort();
  messages = [];
  $("turns").replaceChildren();
  note("");
});
$("key").addEventListener("change", listModels);
listModels();
