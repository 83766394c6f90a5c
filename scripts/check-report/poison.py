#!/usr/bin/env python3
"""Fills a record with text that would be markup if it were not escaped: names, labels, messages, notes."""
import json
import pathlib
import sys

BAD = "\"'><script>alert(1)</script><img src=x onerror=alert(2)></pre></details>&amp;\u202e"

folder = pathlib.Path(sys.argv[1])
events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
pods = sorted({event["name"] for event in events if event["event"] == "pod"})
hostile = pods[0] if pods else ""


def poisoned(value):
    if isinstance(value, str):
        return value.replace(hostile, hostile + BAD) if hostile else value
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    return value


for event in events:
    if event["event"] == "pod":
        event["labels"] = {**event.get("labels", {}), "note": BAD}
        event["container_name"] = "web" + BAD
    if event["event"] == "kube_event":
        event["message"] = BAD + event["message"]
        event["severity"] = "Warning"
    if event["event"] == "step":
        event["detail"] = BAD + event["detail"]
    if event["event"] == "lost":
        event["error"] = BAD
at = next(event["at_us"] for event in events if event["event"] == "phase")
events.append({"at_us": at + 1, "event": "note", "kind": "info", "text": BAD})
events.sort(key=lambda event: event["at_us"])
# And one interval with requests that were never sent, which the charts must show.
load = [event for event in events if event["event"] == "load"]
load[len(load) // 2]["by_outcome"]["not_sent"] = 3
lines = [json.dumps(poisoned(event), ensure_ascii=False) for event in events]
(folder / "events.jsonl").write_text("\n".join(lines) + "\n")
print(f"{len(events)} events, pod {hostile} and all messages are hostile now")
