#!/usr/bin/env python3
"""Looks at a report in Chromium through its DevTools protocol, with nothing but Python's own library."""
import base64
import json
import os
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

MOST_BYTES = 1_500_000
DESK, PHONE = (1280, 900), (390, 844)


class Page:
    """One page of the browser: commands with their answers, and the events that came meanwhile."""

    def __init__(self, url):
        host, path = url.removeprefix("ws://").split("/", 1)
        name, port = host.split(":")
        self.socket = socket.create_connection((name, int(port)), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /{path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.read(1)
        assert b" 101 " in head, head
        self.number, self.events = 0, []

    def read(self, count):
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise EOFError("the browser closed the connection")
            data += piece
        return data

    def message(self):
        whole = b""
        while True:
            first, second = self.read(2)
            length = second & 127
            if length == 126:
                length = struct.unpack(">H", self.read(2))[0]
            elif length == 127:
                length = struct.unpack(">Q", self.read(8))[0]
            whole += self.read(length)
            if first & 128:
                return json.loads(whole)

    def call(self, method, **params):
        self.number += 1
        text = json.dumps({"id": self.number, "method": method, "params": params}).encode()
        mask = os.urandom(4)
        size = len(text)
        head = bytes([129, 128 | size]) if size < 126 else bytes([129, 254]) + struct.pack(">H", size)
        if size >= 65536:
            head = bytes([129, 255]) + struct.pack(">Q", size)
        self.socket.sendall(head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(text)))
        while True:
            message = self.message()
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def value(self, expression):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression, what):
        deadline = time.monotonic() + 30
        while not self.value(expression):
            assert time.monotonic() < deadline, f"waited 30 s for {what}"
            time.sleep(0.05)

    def shot(self, path, whole=True):
        """The whole page, which takes the pointer away from it, or what is in sight."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]))


def open_browser(browser, scratch):
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", f"--user-data-dir={scratch}",
             "--no-first-run", "--disable-background-networking", "--disable-component-update", "about:blank"]
    process = subprocess.Popen([browser, *flags], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    place, deadline = pathlib.Path(scratch) / "DevToolsActivePort", time.monotonic() + 60
    while not place.exists() or not place.read_text().strip():
        assert process.poll() is None, "the browser ended before it could be asked"
        assert time.monotonic() < deadline, "the browser did not open its port within 60 s"
        time.sleep(0.05)
    port = place.read_text().split()[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
        page = next(one for one in json.load(answer) if one["type"] == "page")
    return process, Page(page["webSocketDebuggerUrl"])


def size(page, width_height, dark=False, paper=False):
    width, height = width_height
    page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 500)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    page.call("Emulation.setEmulatedMedia", media="print" if paper else "screen", features=[scheme])


def mouse(page, kind, x, y, **more):
    page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)


def check_layout(page, problems, where):
    wide = page.value("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    if wide > 1:
        problems.append(f"{where}: the page is {wide} px wider than the screen")
    top = page.value("document.querySelector('.verdict').getBoundingClientRect().top")
    if top > 200:
        problems.append(f"{where}: the verdict stands {top} px down the page")
    order = page.value("""(() => {
        const top = (selector) => { const one = document.querySelector(selector); return one ? one.offsetTop : -1; };
        return [top('.verdict'), top('#causes'), top('#timeline'), top('#expectations')].filter((y) => y >= 0);
    })()""")
    if order != sorted(order):
        problems.append(f"{where}: verdict, causes, time and tables are not in this order: {order}")


def check_pointer(page, problems):
    page.value("document.querySelector('.tl').scrollIntoView()")
    box = page.value("""(() => { const b = document.querySelector('.tl .times .plot, .tl .losses .plot').getBoundingClientRect();
        return [b.left, b.top, b.width, b.height]; })()""")
    x, y = box[0] + box[2] / 3, box[1] + box[3] / 2
    mouse(page, "mouseMoved", x, y)
    if page.value("document.getElementById('readout').hidden"):
        problems.append("pointing at the timeline shows no figures")
    before = page.value("document.querySelector('.tl svg').getAttribute('viewBox')")
    mouse(page, "mousePressed", x, y, button="left", buttons=1, clickCount=1)
    mouse(page, "mouseMoved", x + box[2] / 3, y, button="left", buttons=1)
    mouse(page, "mouseReleased", x + box[2] / 3, y, button="left", clickCount=1)
    if page.value("document.querySelector('.tl svg').getAttribute('viewBox')") == before:
        problems.append("dragging over the timeline does not zoom")
    page.value("document.getElementById('reset').click()")
    after = page.value("document.querySelector('.tl svg').getAttribute('viewBox')")
    # The script shows the whole run to the microsecond, the page itself to the millisecond.
    if any(abs(float(one) - float(other)) > 1 for one, other in zip(before.split(), after.split(), strict=True)):
        problems.append("the way back from a zoom does not lead back")
    mouse(page, "mouseMoved", 1, 1)


def check_doubt(page, problems):
    """Where the charts are hatched, the figures say why."""
    page.value("document.querySelector('.tl').scrollIntoView()")
    found = page.value("""(() => { const hatch = document.querySelector('.tl .lane .plot .hatch');
        if (!hatch) return null;
        const b = hatch.getBoundingClientRect();
        return [b.left + b.width / 2, b.top + b.height / 2, hatch.title]; })()""")
    if found is None:
        return False
    x, y, why = found
    mouse(page, "mouseMoved", x, y)
    told = page.value("document.getElementById('readout').innerText")
    if why not in told:
        problems.append(f"pointing at what is in doubt does not say {why!r}, but {told!r}")
    if "never sent" in why and "never sent" not in told.split("\n")[1]:
        problems.append(f"the figures have no column of requests never sent: {told!r}")
    return True


def check_events(page, problems):
    page.value("1")
    for event in page.events:
        method, params = event.get("method"), event.get("params", {})
        if method == "Page.javascriptDialogOpening":
            problems.append(f"foreign text ran as a script: it said {params.get('message')!r}")
        if method == "Runtime.exceptionThrown":
            problems.append(f"the script failed: {params['exceptionDetails'].get('text')}")
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            problems.append(f"the browser complains: {params['entry']['text']}")
        if method == "Network.requestWillBeSent" and not params["request"]["url"].startswith(("file:", "data:")):
            problems.append(f"it asks the network for {params['request']['url']}")


def main():
    browser, report, shots = sys.argv[1], pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3])
    shots.mkdir(parents=True, exist_ok=True)
    problems = []
    if report.stat().st_size > MOST_BYTES:
        problems.append(f"the report has {report.stat().st_size} bytes, {MOST_BYTES} are allowed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        process, page = open_browser(browser, scratch)
        try:
            for domain in ("Page", "Runtime", "Log", "Network"):
                page.call(f"{domain}.enable")
            size(page, DESK)
            page.call("Page.navigate", url=report.as_uri())
            page.until("document.readyState === 'complete' && !!document.querySelector('.verdict')", "the page")
            page.until("document.documentElement.classList.contains('live')", "its script")
            check_layout(page, problems, "desk")
            page.shot(shots / "light.png")
            check_pointer(page, problems)
            if check_doubt(page, problems):
                page.shot(shots / "doubt.png", whole=False)
                mouse(page, "mouseMoved", 1, 1)
            light = page.value("getComputedStyle(document.body).backgroundColor")
            size(page, DESK, dark=True)
            if page.value("getComputedStyle(document.body).backgroundColor") == light:
                problems.append("dark is as light as light")
            page.shot(shots / "dark.png")
            size(page, PHONE)
            check_layout(page, problems, "phone")
            page.shot(shots / "phone.png")
            size(page, DESK, paper=True)
            pdf = base64.b64decode(page.call("Page.printToPDF", printBackground=True)["data"])
            (shots / "paper.pdf").write_bytes(pdf)
            if not pdf.startswith(b"%PDF") or len(pdf) < 10_000:
                problems.append("there is nothing on paper")
            hostile = page.value("document.querySelectorAll('main script, main img, main iframe, main a[href^=javascript]').length")
            if hostile:
                problems.append(f"{hostile} elements came out of foreign text")
            check_events(page, problems)
        finally:
            process.terminate()
            process.wait(timeout=30)
    for problem in problems:
        print(f"check-report: {problem}", file=sys.stderr)
    if not problems:
        print(f"check-report: {report.name} is as it should be; {report.stat().st_size} bytes")
    return 1 if problems else 0


sys.exit(main())
