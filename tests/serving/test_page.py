"""The page in a browser: it chats, shows sources and calls, fits a phone and the dark, and asks its server alone."""

import base64
import json
import re
import shutil
import subprocess
import time
import urllib.request

import pytest
from serving_models import Parrot, chat_template, chat_tokenizer

from kerasllm.serving import Engine
from kerasllm.serving.app import Served

websocket = pytest.importorskip("websocket", reason="the page is tried through websocket-client, which is not there")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page is tried in Chromium, which is not installed")
SAID = "One <b>two</b>, 你好.\nThree."
CALL = '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>'
TOOLS = '[{"type": "function", "function": {"name": "add"}}]'
SOURCES = [{"title": "Sums", "text": "1 + 2 is 3.", "url": "https://example.test/sums"}]


class Browser:
    """A page in headless Chromium, through its protocol for developers."""

    def __init__(self, folder):
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run"]
        flags += ["--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}"]
        self.process = subprocess.Popen([CHROMIUM, *flags, "about:blank"], stderr=subprocess.PIPE, text=True)
        lines = iter(self.process.stderr.readline, "")
        port = next(found[1] for line in lines if (found := re.search(r"listening on ws://127.0.0.1:(\d+)/", line)))
        pages = json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json"))
        address = next(one["webSocketDebuggerUrl"] for one in pages if one["type"] == "page")
        self.line = websocket.create_connection(address, timeout=120, suppress_origin=True)
        self.number, self.seen = 0, []
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.do(f"{domain}.enable")

    def do(self, method, **parameters):
        self.number += 1
        self.line.send(json.dumps({"id": self.number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.line.recv())
            if message.get("id") == self.number:
                return message["result"]
            self.seen.append(message)

    def value(self, expression):
        found = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression):
        end = time.monotonic() + 120
        while not self.value(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.1)

    def say(self, text):
        self.value(f"said.value = {json.dumps(text)}; form.requestSubmit()")
        self.until("!stopper && turns.lastElementChild.className == 'turn assistant'")

    def picture(self, path):
        path.write_bytes(base64.b64decode(self.do("Page.captureScreenshot")["data"]))

    def close(self):
        self.line.close()
        self.process.terminate()
        self.process.wait(60)


@pytest.fixture
def browser(tmp_path):
    made = Browser(tmp_path / "profile")
    yield made
    made.close()


def test_the_page_chats_and_shows_what_there_is_to_show(browser, running, tmp_path):
    def served(said, *more):
        return Served(Engine(Parrot(chat_tokenizer(), said), chat_tokenizer()), chat_template(), *more)

    server = running(
        {
            "says": served(SAID),
            "calls": served(CALL),
            "looks up": served("[1]", lambda asked: SOURCES * ("1" in asked)),
        },
        key="k",
    )
    browser.do("Page.navigate", url=server.address)
    browser.until("document.getElementById('note')?.textContent.includes('key')")
    browser.value("key.value = 'k'; key.dispatchEvent(new Event('change'))")
    browser.until("model.options.length == 3")
    browser.say("Hi <i>there</i>")
    texts = browser.value("[...document.querySelectorAll('.text')].map((one) => one.textContent)")
    assert texts == ["Hi <i>there</i>", SAID]  # markup of users and models stays text
    assert browser.value("document.getElementById('note').textContent") == f"{len(SAID)} tokens"

    browser.value(f"model.value = 'calls'; reset.click(); tools.value = {json.dumps(TOOLS)}")
    browser.say("1 + 2?")
    shown = browser.value("document.querySelector('.call').textContent")
    assert "Calls add" in shown
    assert '{"a": 1}' in shown
    browser.value(
        "model.value = 'says'; document.querySelector('.call input').value = '3';"
        "document.querySelector('.call input').dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}))"
    )
    browser.until("!stopper && turns.children.length == 3")
    assert browser.value("turns.lastElementChild.querySelector('.text').textContent") == SAID

    browser.value("model.value = 'looks up'; reset.click(); tools.value = ''")
    browser.say("1 + 2?")
    assert browser.value("document.querySelector('.sources a').textContent") == "Sums"
    browser.say("Who?")  # nothing is found: no empty list of sources
    assert browser.value("document.querySelectorAll('.sources').length") == 1

    browser.do("Emulation.setDeviceMetricsOverride", width=360, height=640, deviceScaleFactor=2, mobile=True)
    browser.do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.value("document.documentElement.scrollWidth") <= 360
    assert browser.value("getComputedStyle(document.body).backgroundColor") == "rgb(21, 24, 28)"
    browser.picture(tmp_path / "page.png")
    asked = [one["params"]["request"]["url"] for one in browser.seen if one["method"] == "Network.requestWillBeSent"]
    assert asked
    assert all(url.startswith((server.address, "data:")) for url in asked)
    wrong = [one for one in browser.seen if one["method"] == "Runtime.exceptionThrown"]
    assert not wrong
