"""Walks over the page in a headless Chromium, as `make page` has it: what an operator sees, in light
and dark, on a screen and a phone, while clients work, while all is paused, and while nobody answers.

    walk.py URL FOLDER HOSTILE

Screenshots go into FOLDER, to be looked at. HOSTILE is the name of a database that is to be shown as
it is. What only the test can do (pause, stop ...) it is asked for by a line on the output, and says
"done" on the input. The browser is driven by pipes (DevTools protocol), so that no package is needed.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

URL, FOLDER, HOSTILE = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
PATIENCE = 40


class Browser:
    """One tab."""

    def __init__(self):
        ours, theirs = os.pipe(), os.pipe()
        self.profile = tempfile.TemporaryDirectory(prefix="page-walk-")

        def hand_over():
            # The ends that the browser takes are 3 and 4; they must not be what is copied over.
            read, write = os.dup(theirs[0]), os.dup(ours[1])
            os.dup2(read, 3)
            os.dup2(write, 4)

        program = os.environ.get("CHROMIUM", "chromium")
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                   "--disable-dev-shm-usage", "--no-first-run", "--remote-debugging-pipe",
                   f"--user-data-dir={self.profile.name}", "about:blank"]
        self.process = subprocess.Popen([program, *options], preexec_fn=hand_over,
                                        pass_fds=(3, 4),
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs[0])
        os.close(ours[1])
        self.input, self.output = os.fdopen(ours[0], "rb", 0), os.fdopen(theirs[1], "wb", 0)
        self.number, self.session, self.rest = 0, None, b""
        self.errors = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in "Page", "Runtime", "Log":
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.output.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise SystemExit(f"{method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def message(self):
        while b"\0" not in self.rest:
            more = self.input.read(1 << 16)
            if not more:
                raise SystemExit("the browser has ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def note(self, event):
        method, of = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(of["exceptionDetails"])[:500])
        elif method == "Runtime.consoleAPICalled":
            self.errors.append(json.dumps(of["args"])[:500])
        elif method == "Log.entryAdded":
            entry = of["entry"]
            self.errors.append(f"{entry['source']}: {entry['text']}")

    def run(self, script):
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in answer:
            raise SystemExit(f"{script}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait(self, what, script):
        end = time.time() + PATIENCE
        while time.time() < end:
            if value := self.run(script):
                return value
            time.sleep(0.2)
        raise SystemExit(f"waited in vain for {what}; the page says:\n{self.run('document.body.innerText')}")

    def look(self, name, width, scheme):
        """Takes a screenshot, and sees that nothing sticks out."""
        mobile = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900,
                  deviceScaleFactor=2 if mobile else 1, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        time.sleep(0.5)
        wide = self.run("document.documentElement.scrollWidth")
        check(wide <= width, f"{name}: {wide} pixels wide instead of {width}")
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": width, "height": size["height"], "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", clip=clip,
                         captureBeyondViewport=True)
        (FOLDER / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    def press(self, key):
        for kind in "keyDown", "keyUp":
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key,
                      windowsVirtualKeyCode={"Tab": 9}[key])

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()


def check(holds, what):
    if not holds:
        raise SystemExit(what)


def ask(what):
    print(what, flush=True)
    check(sys.stdin.readline().strip() == "done", f"{what} was not done")


STATE = "document.getElementById('state').textContent"
PLOT = "document.querySelector('#plots svg path[fill=none]').getAttribute('d')"


def walk(page):
    page.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1,
              mobile=False)
    page.call("Page.navigate", url=URL)
    page.wait("a first answer", f"document.getElementById('state') && {STATE}==='active'")
    page.run("window.spoken=[];new MutationObserver(()=>spoken.push(document.getElementById('say')"
             ".textContent)).observe(document.getElementById('say'),{childList:true})")
    page.wait("the hostile name", f"document.getElementById('pools').innerText.includes("
              f"{json.dumps(HOSTILE)})")
    check(page.run("document.scripts.length") == 1, "a name has become a script")
    check(page.run("typeof window.harm") == "undefined", "a name has been run")

    before = page.wait("a plot", f"document.querySelector('#plots svg path[fill=none]') && {PLOT}")
    page.wait("the plots to move", f"{PLOT}!=={json.dumps(before)}")
    page.wait("queries to be told", "/[1-9]/.test(document.querySelectorAll('.tile b')[3].innerText)")
    if not os.environ.get("HURRY"):
        ask("settle")
    for width in 1280, 390:
        for scheme in "light", "dark":
            page.look(f"{width}-{scheme}", width, scheme)

    # By keyboard all that scrolls and all links are reached, and one sees where one is.
    page.run("document.activeElement.blur()")
    seen = []
    for _ in range(6):
        page.press("Tab")
        seen.append(page.run("(e=>e.getAttribute('aria-label')||e.textContent)"
                             "(document.activeElement)"))
        outline = page.run("getComputedStyle(document.activeElement).outlineStyle")
        check(outline == "solid", f"{seen[-1]} has no outline: {outline}")
    wanted = ["Pools", "Latency", "metrics", "healthz", "readyz", "status.json"]
    check(seen == wanted, f"the keyboard reaches {seen}")
    check(page.run("spoken.join()") == "", "read out was " + page.run("spoken.join()"))

    ask("pause")
    page.wait("PAUSE", f"{STATE}==='paused' && document.title.includes('paused')")
    page.look("390-paused", 390, "light")
    ask("resume")
    page.wait("RESUME", f"{STATE}==='active'")
    check(page.run("spoken.join()") == "paused,active", page.run("spoken.join()"))

    ask("stop")
    page.wait("the loss of contact", f"{STATE}==='no contact'")
    time.sleep(4)
    page.look("1280-lost", 1280, "dark")
    check(page.run("spoken.join()") == "paused,active,no contact", page.run("spoken.join()"))
    ask("go on")
    page.wait("contact again", f"{STATE}==='active'")
    check(not page.errors, "\n".join(page.errors))

    ask("restart")
    page.wait("the mark of the restart", "document.querySelector('#plots svg').textContent"
              ".includes('started')")
    page.wait("two lines in one plot", "document.querySelectorAll('#plots section:first-child svg "
              "path[fill=none]').length===2")
    page.look("1280-restarted", 1280, "light")
    others = [error for error in page.errors if not error.startswith("network: ")]
    check(not others, "\n".join(others))


browser = Browser()
try:
    walk(browser)
finally:
    browser.end()
print("walked", flush=True)
