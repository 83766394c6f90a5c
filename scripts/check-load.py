#!/usr/bin/env python3
"""What the load generator measures, held against what was really done to it: prints the figures, exits 1 on a miss.

    scripts/check-load.py EVENKEEL [faults pacing stall self window short quiet hlog memory record]

Servers are this script's own, on loopback; pacing, stall, short and quiet ask nginx, which must be installed. `record`
runs an experiment in which nothing happens, in the sandbox or on the cluster that ON names, RATE (20000) a second for
SECONDS (600), and looks at the memory meanwhile and at the record and report afterwards.
"""
import asyncio, json, os, random, signal, socket, struct, subprocess, sys, tempfile, time
from datetime import datetime

EVENKEEL, FAILED = sys.argv[1], []


def check(name, ok, figures):
    print(f"{'ok  ' if ok else 'MISS'} {name}: {figures}", flush=True)
    FAILED.extend([] if ok else [name])


def command(url, *flags):
    return [EVENKEEL, "load", url, "--json", "-", *flags]


def load(url, *flags):
    done = subprocess.run(command(url, *flags), capture_output=True, text=True)
    return json.loads(done.stdout)


class Nginx:
    """One worker that answers everything with 128 bytes, or in its `log` with the path, and tells there when it did."""

    def __init__(self, logs=False, pinned=False):
        self.dir, self.port = tempfile.mkdtemp(), 18129
        self.before = ["taskset", "-c", "0"] if pinned else []
        self.log = f"{self.dir}/access.log"
        says, log = "x" * 128, "access_log off;"
        if logs:
            says, log = "$uri", f"log_format at '$uri $msec'; access_log {self.log} at;"
        with open(f"{self.dir}/c", "w") as conf:
            conf.write(f"worker_processes 1; pid {self.dir}/pid; error_log {self.dir}/error.log;"
                       f"events {{ worker_connections 20000; }} http {{ {log} keepalive_requests 1000000000;"
                       f" server {{ listen 127.0.0.1:{self.port} backlog=4096;"
                       f" location / {{ return 200 \"{says}\"; }} }} }}")

    def __enter__(self):
        subprocess.run([*self.before, "nginx", "-c", f"{self.dir}/c"], check=True)
        self.url = f"http://127.0.0.1:{self.port}/"
        time.sleep(0.2)
        workers = subprocess.run(["pgrep", "-P", open(f"{self.dir}/pid").read().strip()], capture_output=True, text=True)
        self.worker = int(workers.stdout.split()[0])
        return self

    def __exit__(self, *_):
        os.kill(int(open(f"{self.dir}/pid").read()), signal.SIGTERM)
        time.sleep(0.3)


# What the fault server does with a request for each path, the flags that go with it, its kind and its mark.
GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CUT = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"
CHUNK = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
NEW, PLAIN = ["--new-connections"], ["-c", "100"]
FAULTS = {
    "reset-before-byte": (b"", "reset", NEW, "reset_before_byte", "idempotent"),
    "closed-before-byte": (b"", "close", NEW, "reset_before_byte", "idempotent"),
    "head-cut": (b"HTTP/1.1 200 OK\r\ncont", "close", NEW, "cut_mid_answer", "no"),
    "head-reset": (b"HTTP/1.1 200 OK\r\ncont", "reset", NEW, "cut_mid_answer", "no"),
    "body-cut": (CUT, "close", NEW, "cut_mid_answer", "no"),
    "body-reset": (CUT, "reset", NEW, "cut_mid_answer", "no"),
    "chunk-cut": (CHUNK + b"9\r\nok", "close", NEW, "cut_mid_answer", "no"),
    "bad-chunk": (CHUNK + b"zz\r\nok\r\n", "keep", NEW, "malformed", "no"),
    "not-http": (b"220 mail ESMTP\r\n\r\n", "keep", NEW, "malformed", "no"),
    "stalls": (b"", "keep", [*NEW, "--timeout", "700ms"], "request_timeout", "no"),
    "body-stalls": (CUT, "keep", [*NEW, "--timeout", "700ms"], "request_timeout", "no"),
    "500": (b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", "keep", NEW, "server_error", "no"),
    "404": (b"HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n", "keep", NEW, "other_status", "no"),
    "short-body": (GOOD, "keep", [*NEW, "--body-length", "3"], "wrong_body", "no"),
    "other-body": (GOOD, "keep", [*NEW, "--body-contains", "no"], "wrong_body", "no"),
    "no-echo": (GOOD, "keep", [*NEW], "wrong_body", "no"),
    # The first request of each connection is answered, and the second meets its end.
    "keep-alive-race": (b"", "race", ["-c", "1"], "reused_connection_closed", "idempotent"),
    "keep-alive-reset": (b"", "race-reset", ["-c", "1"], "reused_connection_closed", "idempotent"),
}
ASKED = {}


async def serve(reader, writer):
    nth = 0
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            fault = head.split(b" ")[1].decode().lstrip("/").split("?")[0]
            ASKED[fault] = ASKED.get(fault, 0) + 1
            say, then = FAULTS[fault][:2] if fault in FAULTS else (GOOD, "keep")
            nth += 1
            if then.startswith("race"):
                say, then = (GOOD, "keep") if nth == 1 else (b"", "reset" if then == "race-reset" else "close")
            writer.write(say)
            await writer.drain()
            if then == "reset":
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if then != "keep":
                break
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    writer.close()


async def run(*args):
    child = await asyncio.create_subprocess_exec(*args, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    out, _ = await child.communicate()
    return json.loads(out)


async def faults():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    with socket.socket() as closed, socket.socket() as hole:
        closed.bind(("127.0.0.1", 0))
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(hole.getsockname())
        await asyncio.sleep(0.3)
        rows = [(name, f"http://127.0.0.1:{port}/{name}" + ("?{id}" if name == "no-echo" else ""), *row[2:])
                for name, row in FAULTS.items()]
        address = "http://127.0.0.1:%d/"
        rows += [("refused", address % closed.getsockname()[1], NEW, "refused", "yes"),
                 ("silence", address % hole.getsockname()[1], [*NEW, "--connect-timeout", "500ms"], "connect_timeout", "yes"),
                 ("unreachable", "http://255.255.255.255:80/", NEW, "unreachable", "yes"),
                 ("no-tls", f"https://127.0.0.1:{port}/x", [*NEW, "--insecure"], "tls_failed", "yes")]
        for name, url, flags, kind, mark in rows:
            race = name.startswith("keep-alive")
            rate, length = ("1000/s", "100ms") if not race else ("1000/s", "250ms")
            before = ASKED.get(name, 0)
            told = await run(*command(url, "-r", rate, "-d", length, *flags))
            requests, asked = told["requests"], ASKED.get(name, 0) - before
            n = requests["by_kind"].get(kind, 0)
            right = set(requests["by_kind"]) == {kind} and told["retry_safe"][mark] == requests["lost"] == n
            once = asked in (0, requests["sent"]) and requests["sent"] + requests["unsent"] == (250 if race else 100)
            right = right and (n >= 100 if race else n == 100)
            check(f"fault {name}", right and once,
                  f"{n} {kind}, can be sent again: {mark}, of {requests['sent']}; the server had {asked}; {requests['by_kind']}")


def pacing(rate=10_000, seconds=10, rounds=5):
    """The server on the first processor, the generator on the second; the medians of several rounds."""
    with Nginx(pinned=True) as nginx:
        def once():
            words = command(nginx.url, "-r", f"{rate}/s", "-d", f"{seconds}s", "-c", "32")
            told = json.loads(subprocess.run(["taskset", "-c", "1", *words], capture_output=True, text=True).stdout)
            return {"sent": told["requests"]["sent"], **told["send_lag_ms"]}

        all_rounds = [once() for _ in range(rounds)]
        sent, p50, p99, p999 = (sorted(one[name] for one in all_rounds) for name in ("sent", "p50", "p99", "p999"))
        middle, due = rounds // 2, rate * seconds
        within = all(abs(n / due - 1) <= 0.001 for n in sent)
        check(f"pacing at {rate}/s", within and p50[middle] <= 0.05 and p999[middle] <= 0.5,
              f"{sent[0]} of {due} in {seconds} s, medians of {rounds}: send lag p50 {p50[middle]} ms, p99 {p99[middle]} "
              f"ms, p99.9 {p999[middle]} ms; p99.9 of each {p999}")


def stall(rate=1000, seconds=30):
    """Against what a server that needs no time would give, and against what nginx's own log says it gave."""
    with Nginx(logs=True) as nginx:
        table = f"{nginx.dir}/hgrm"
        child = subprocess.Popen(command(nginx.url + "{id}", "-r", f"{rate}/s", "-d", f"{seconds}s", "--timeout", "5s",
                                         "--hgrm", table),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(10)
        os.kill(nginx.worker, signal.SIGSTOP)
        time.sleep(2)
        os.kill(nginx.worker, signal.SIGCONT)
        told = json.loads(child.communicate()[0])
        answers = [line.split() for line in open(nginx.log)]
    found, lost = told["latency_ms"], told["requests"]["lost"]
    rows = [line.split() for line in open(table) if line.split()[1:2] == ["0.950000000000"]]
    found["p95"] = float(rows[0][0])
    wanted = {"p95": 500, "p99": 1700, "p999": 1970}
    off = {at: abs(found[at] / value - 1) for at, value in wanted.items()}
    check("server stopped for 2 s of 30 s, beside a server that needs no time", lost == 0 and max(off.values()) <= 0.01,
          f"p95 {found['p95']}, p99 {found['p99']}, p99.9 {found['p999']} ms, wanted {wanted}, {lost} lost")
    # Request n was due n / rate after the first.
    began = datetime.fromisoformat(told["began"].replace("Z", "+00:00")).timestamp()
    took = sorted((float(at) - began - int(path[1:]) / rate) * 1e3 for path, at in answers)
    theirs = {at: took[int(len(took) * share)] for at, share in (("p95", 0.95), ("p99", 0.99), ("p999", 0.999))}
    off = {at: abs(found[at] / value - 1) for at, value in theirs.items()}
    check("the same beside nginx's own log", len(took) == told["requests"]["sent"] and max(off.values()) <= 0.01,
          f"{ {at: round(value, 1) for at, value in theirs.items()} }, {len(took)} answers; off by "
          f"{ {at: f'{one:.2%}' for at, one in off.items()} }")


def self_stall():
    with Nginx() as nginx:
        child = subprocess.Popen(command(nginx.url, "-r", "1000/s", "-d", "10s", "--timeout", "500ms", "-c", "64"),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        time.sleep(4)
        child.send_signal(signal.SIGSTOP)
        time.sleep(1)
        child.send_signal(signal.SIGCONT)
        told = json.loads(child.communicate()[0])
        check("generator stopped for 1 s", told["verdict"] == "inconclusive" and told["requests"]["lost"] == 0,
              f"{told['verdict']}, {told['requests']['lost']} lost, {told['requests']['unsent']} unsent; {told['reasons']}")


def short():
    with Nginx() as nginx:
        told = load(nginx.url, "-r", "5000/s", "-d", "60s", "--new-connections")
        requests = told["requests"]
        check("5,000 connections a second for 60 s", told["verdict"] == "held" or requests["unsent"] > 0,
              f"{told['verdict']}: {requests['sent']} sent, {requests['lost']} lost, {requests['unsent']} unsent {told['reasons']}")


def quiet():
    with Nginx() as nginx:
        told = load(nginx.url, "-r", "20000/s", "-d", "50s", "-c", "64")
        requests = told["requests"]
        check("a million requests", requests["lost"] == 0 and requests["sent"] == 1_000_000,
              f"{told['verdict']}: {requests['sent']} sent, {requests['lost']} lost, {requests['unsent']} unsent {told['reasons']}")


def window(trials=int(os.environ.get("TRIALS", "200"))):
    """Closes the listening socket for 50 ms at random instants, in a process of its own that notes when."""
    def listen(port=0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(4096)
        return listener

    def serve_until(listener, until):
        """At least until then, and until nobody waits in the queue, who would be reset rather than refused."""
        while True:
            waits = time.time() < until
            listener.settimeout(0.001 if waits else 0)
            try:
                stream, _ = listener.accept()
            except TimeoutError:
                continue
            except BlockingIOError:
                return
            try:
                stream.settimeout(0.5)
                stream.recv(4096)
                stream.sendall(GOOD.replace(b"content", b"connection: close\r\ncontent"))
            except OSError:
                pass
            stream.close()

    listener = listen()
    port = listener.getsockname()[1]
    seconds, wanted = trials * 0.45 + 1, []
    child = subprocess.Popen(command(f"http://127.0.0.1:{port}/", "-r", "2000/s", "-d", f"{seconds:.0f}s", *NEW),
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    serve_until(listener, time.time() + 1)
    for _ in range(trials):
        serve_until(listener, time.time() + 0.25 + random.random() * 0.25 / 2)
        start = time.time()
        listener.close()
        # Asleep: a spinning server would take the generator's processor just when it matters.
        time.sleep(0.05)
        listener = listen(port)
        wanted.append((start, time.time()))
    while child.poll() is None:
        serve_until(listener, time.time() + 0.1)
    told = json.loads(child.communicate()[0])
    began = datetime.fromisoformat(told["began"].replace("Z", "+00:00")).timestamp()
    found = [(began + one["start_ms"] / 1e3, began + one["end_ms"] / 1e3) for one in told["outages"]]
    off, missed = [], 0
    for start, end in wanted:
        near = [one for one in found if one[0] < end + 0.02 and one[1] > start - 0.02]
        missed += not near
        off += [abs(near[0][0] - start) * 1e3, abs(near[-1][1] - end) * 1e3] if near else []
    off.sort()
    p99 = off[int(len(off) * 0.99) - 1] if off else None
    check(f"a window of 50 ms, {trials} trials", not missed and p99 <= 2,
          f"{missed} missed, edges within {p99:.2f} ms (p99), {off[len(off) // 2]:.2f} ms (median), {off[-1]:.2f} ms (max)")


def hlog(jar="/usr/share/java/hdrhistogram.jar"):
    """The log and the table, held against what the Java tools make of the same log (Debian: libhdrhistogram-java)."""
    with Nginx() as nginx:
        log, ours, theirs = (f"{nginx.dir}/{name}" for name in ("load.hlog", "ours", "theirs"))
        told = load(nginx.url, "-r", "2000/s", "-d", "5s", "--hlog", log, "--hgrm", ours)
        subprocess.run(["java", "-cp", jar, "org.HdrHistogram.HistogramLogProcessor", "-i", log, "-tag", "load", "-o", theirs,
                        "-outputValueUnitRatio", "1000"], check=True, stdout=subprocess.DEVNULL)
        rows = [[line.split() for line in open(name) if line.strip()] for name in (ours, f"{theirs}.hgrm")]
        different = [pair for pair in zip(*rows) if pair[0] != pair[1]]
        check("load.hlog and .hgrm beside the Java tools", len(rows[0]) == len(rows[1]) and not different,
              f"{told['requests']['sent']} requests, {len(rows[0])} and {len(rows[1])} lines, different: {different[:3]}")


def memory():
    seconds = int(os.environ.get("SECONDS", "600"))
    with Nginx() as nginx:
        log = f"{nginx.dir}/load.hlog"
        child = subprocess.Popen(command(nginx.url, "-r", "20000/s", "-d", f"{seconds}s", "-c", "64", "--hlog", log),
                                 stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        highest, growth = flatness(resident_while(child))
        told = json.loads(child.communicate()[0])
        size = os.path.getsize(log) / 1e6
        check(f"20,000/s for {seconds} s", highest <= 40 and growth <= 1 and size * 600 / seconds <= 25,
              f"{told['verdict']}, {told['requests']['sent']} sent, at most {highest:.1f} MB resident, second half "
              f"{growth:+.1f} MB, load.hlog {size:.1f} MB, send lag p99 {told['send_lag_ms']['p99']} ms")


QUIET = """apiVersion: evenkeel/v1
kind: Experiment
metadata: {name: quiet}
spec:
  given:
    namespace: evenkeel-quiet
    apply:
      - apiVersion: apps/v1
        kind: Deployment
        metadata: {name: shop}
        spec:
          replicas: 2
          selector: {matchLabels: {app: shop}}
          template:
            metadata: {labels: {app: shop}}
            spec:
              containers:
                - name: shop
                  image: evenkeel/demo:v1
                  args: [demo]
                  env: [{name: POD_NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
                  readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1}
      - apiVersion: v1
        kind: Service
        metadata: {name: shop}
        spec: {type: NodePort, selector: {app: shop}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
    ready: [deployment/shop]
  load: [{name: outside, from: outside, service: shop, rate: RATE/s, connections: {reused: 32}}]
  phases: {before: 2s, after: 2s}
  steps: [{wait: {time: SECONDSs}}]
  expect: [{lost: {atMost: 0}}]
"""


def resident_while(child):
    """The resident megabytes of a child, each second until it ends."""
    resident = []
    while child.poll() is None:
        try:
            lines = open(f"/proc/{child.pid}/status").read()
            resident.append(int(lines.split("VmRSS:")[1].split()[0]) / 1000)
        except (IndexError, OSError):
            pass
        time.sleep(1)
    return resident


def flatness(resident):
    """The highest, and how much higher the second half was than the first."""
    half = len(resident) // 2
    return max(resident), max(resident[half:]) - max(resident[:half])


def record():
    rate, seconds = (int(os.environ.get(name, usual)) for name, usual in (("RATE", "20000"), ("SECONDS", "600")))
    on = os.environ.get("ON")
    with tempfile.TemporaryDirectory() as work:
        with open(f"{work}/quiet.yaml", "w") as file:
            file.write(QUIET.replace("RATE", str(rate)).replace("SECONDS", str(seconds)))
        with open(f"{work}/told", "w") as told:
            words = [EVENKEEL, "run", f"{work}/quiet.yaml", "--out", f"{work}/out", *(["--on", on] if on else [])]
            child = subprocess.Popen(words, stdout=told, stderr=told)
        resident = resident_while(child)
        if child.returncode not in (0, 1, 3):
            sys.exit(open(f"{work}/told").read())
        highest, growth = flatness(resident)
        verdict = json.load(open(f"{work}/out/quiet/verdict.json"))
        requests = verdict["requests"]
        megabytes = {name: os.path.getsize(f"{work}/out/quiet/{name}") / 1e6 for name in ("load.hlog", "events.jsonl")}
        began = time.time()
        subprocess.run([EVENKEEL, "report", f"{work}/out/quiet"], check=True, stdout=subprocess.DEVNULL)
        took, report = time.time() - began, os.path.getsize(f"{work}/out/quiet/report.html") / 1e6
        enough = requests["sent"] >= rate * seconds and requests["lost"] == 0
        small = highest <= 40 and growth <= 1 and megabytes["load.hlog"] <= 25 and took <= 1 and report <= 1.5
        check(f"{rate}/s for {seconds} s on {on or 'the sandbox'}", enough and small,
              f"{verdict['verdict']}: {requests}; at most {highest:.1f} MB resident, second half {growth:+.1f} MB; "
              f"load.hlog {megabytes['load.hlog']:.1f} MB, events.jsonl {megabytes['events.jsonl']:.1f} MB; report in "
              f"{took:.2f} s, {report:.2f} MB")


PARTS = {"faults": lambda: asyncio.run(faults()), "pacing": pacing, "stall": stall, "self": self_stall,
         "window": window, "short": short, "quiet": quiet, "hlog": hlog, "memory": memory, "record": record}
for part in sys.argv[2:] or PARTS:
    PARTS[part]()
print(f"load average {os.getloadavg()}")
sys.exit(bool(FAILED))
