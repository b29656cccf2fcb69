"""A browser that is driven over a pipe by the DevTools protocol, without a driver's package.

Messages are JSON, each ended by a zero byte; the browser reads them from descriptor 3 and writes
them to descriptor 4.
"""

import contextlib
import itertools
import json
import os
import select
import subprocess
import sys
import time

import browser

PATIENCE = 30.0

# Shells do not take descriptors of two digits.
_LAUNCH = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


@contextlib.contextmanager
def opened(profile):
    """A browser with an empty page; it is ended with the block."""
    to_browser, write_end = os.pipe()
    read_end, from_browser = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable,
            "-SEc",
            _LAUNCH,
            str(to_browser),
            str(from_browser),
            browser.find(),
            *browser.FLAGS,
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ],
        pass_fds=(to_browser, from_browser),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_browser)
    os.close(from_browser)
    try:
        yield Tab(write_end, read_end)
    finally:
        process.kill()
        process.wait()
        os.close(write_end)
        os.close(read_end)


class Tab:
    """A page of the browser.

    Attributes:
        said: on its console: exceptions, what breaks the policy, answers that are errors.
        requested: the addresses.
    """

    def __init__(self, write_end, read_end):
        self._write_end, self._read_end = write_end, read_end
        self._numbers = itertools.count(1)
        self._rest = b""
        self._session = None
        self.said, self.requested = [], []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "DOM", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method, **params):
        """Call a method and give its result."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        return self._wait_for(lambda found: found.get("id") == number)["result"]

    def open(self, url):
        """Go to a page and wait until it is loaded."""
        self.send("Page.navigate", url=url)
        self._wait_for(lambda found: found.get("method") == "Page.loadEventFired")

    def evaluate(self, script):
        """The value of a script, a promise's when it has come."""
        answer = self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, condition):
        """Wait until a script's value is true, looking every few milliseconds."""
        done = self.evaluate(
            f"""new Promise(resolve => {{
                const end = performance.now() + {PATIENCE * 500};
                const look = () => {{
                    if ({condition}) resolve(true);
                    else if (performance.now() > end) resolve(false);
                    else setTimeout(look, 5);
                }};
                look();
            }})"""
        )
        assert done, f"{condition} never came; the page says: {self.evaluate(TEXT)}"

    def choose(self, selector, *paths):
        """Choose files as a file dialogue does."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def drop(self, path, x, y):
        """Drag a file over a point, and let it go there."""
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def press_tab(self):
        """Move the focus on by the keyboard."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key="Tab", windowsVirtualKeyCode=9)

    def show_as(self, width, height, scheme, phone=False):
        """Take a width, a height and a colour scheme."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        preferred = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[preferred])

    def _wait_for(self, wanted):
        end = time.monotonic() + PATIENCE
        while True:
            found = self._read(end)
            self._note(found)
            if wanted(found):
                assert "error" not in found, found
                return found

    def _note(self, found):
        if found.get("method") == "Runtime.exceptionThrown":
            self.said.append(json.dumps(found["params"]))
        if found.get("method") == "Log.entryAdded":
            self.said.append(found["params"]["entry"]["text"])
        if found.get("method") == "Network.requestWillBeSent":
            self.requested.append(found["params"]["request"]["url"])
        if found.get("method") == "Runtime.consoleAPICalled":
            self.said.append(json.dumps(found["params"]["args"]))

    def _read(self, end):
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read_end], [], [], max(0, end - time.monotonic()))
            assert ready, f"the browser did not answer; it had said {self.said}"
            piece = os.read(self._read_end, 1 << 20)
            assert piece, "the browser ended"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)


TEXT = "document.body.innerText"
