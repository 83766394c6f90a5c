// Zoom and read-out for the timeline. The page says everything without it.
(function () {
  "use strict";
  var tl = document.querySelector(".tl");
  if (!tl || !tl.dataset.series) return;
  var data = JSON.parse(tl.dataset.series);
  var over = tl.querySelector(".over"), cursor = document.getElementById("cursor");
  var chosen = document.getElementById("chosen"), readout = document.getElementById("readout");
  var reset = document.getElementById("reset"), ticks = document.getElementById("ticks");
  var spans = tl.querySelectorAll("[data-a]"), points = tl.querySelectorAll("[data-t]");
  // Each chart of a lane is hatched alike, so the first one says it.
  var doubts = Array.prototype.map.call(tl.querySelectorAll(".lane"), function (lane) {
    var plot = lane.querySelector(".plot");
    return plot ? plot.querySelectorAll(".hatch") : [];
  });
  var unsent = data.lanes.some(function (lane) { return lane.unsent; });
  var charts = tl.querySelectorAll("svg"), rows = document.querySelectorAll("#moments tr[data-at]");
  // What is shown, in milliseconds from the axis' beginning; and where a drag began.
  var from = 0, to = data.span, anchor = null;
  var STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 18e5, 36e5];
  document.documentElement.classList.add("live");

  function percent(ms) { return (ms - from) / (to - from) * 100; }

  function tick(ms) {
    var s = ms / 1e3;
    if (Math.abs(s) < 120) return Math.round(s * 1e3) / 1e3 + " s";
    var rest = (Math.abs(s) % 60).toFixed(3).padStart(6, "0").replace(/\.000$/, "");
    return (s < 0 ? "-" : "") + Math.floor(Math.abs(s) / 60) + ":" + rest;
  }

  function duration(ms) {
    if (ms === null || ms === undefined) return "–";
    if (ms < 9.95) return ms.toFixed(ms < 0.995 ? 2 : 1) + " ms";
    return ms < 999.5 ? Math.round(ms) + " ms" : (ms / 1e3).toFixed(2) + " s";
  }

  function element(parent, name, text, className) {
    var one = document.createElement(name);
    if (text !== undefined) one.textContent = text;
    if (className) one.className = className;
    parent.appendChild(one);
    return one;
  }

  function show(a, b) {
    // Closer than ten bins there is nothing more to see.
    var least = Math.min(data.span, data.width * 10);
    if (b - a < least) { var middle = (a + b) / 2; a = middle - least / 2; b = middle + least / 2; }
    from = Math.max(0, Math.min(a, data.span - least));
    to = Math.min(data.span, Math.max(b, from + least));
    charts.forEach(function (svg) { svg.setAttribute("viewBox", from + " 0 " + (to - from) + " 100"); });
    spans.forEach(function (one) {
      // Cut at the edges of what is shown, so that the words in a stretch stay in sight.
      var left = Math.max(0, percent(+one.dataset.a)), right = Math.min(100, percent(+one.dataset.b));
      one.style.display = right > left ? "" : "none";
      one.style.left = left + "%";
      one.style.width = Math.max(0, right - left) + "%";
    });
    points.forEach(function (one) { one.style.left = percent(+one.dataset.t) + "%"; });
    ticks.textContent = "";
    var step = STEPS.find(function (s) { return (to - from) / s <= 12; }) || (to - from) / 10;
    for (var at = Math.ceil((from + data.from) / step) * step; at <= to + data.from; at += step) {
      element(ticks, "b", tick(at)).style.left = percent(at - data.from) + "%";
    }
    reset.hidden = from === 0 && to === data.span;
  }

  function place(event) {
    var box = over.getBoundingClientRect();
    if (!box.width) return null;
    var part = (event.clientX - box.left) / box.width;
    return part < 0 || part > 1 ? null : from + part * (to - from);
  }

  function tell(ms, event) {
    var bin = Math.floor(ms / data.width);
    readout.textContent = "";
    element(readout, "b", tick(Math.round(ms + data.from)));
    var table = element(readout, "table"), head = element(table, "tr");
    ["", "sent", "lost"].concat(unsent ? "never sent" : [], "p50", "p99", "max").forEach(function (text) { element(head, "th", text); });
    data.lanes.forEach(function (lane) {
      var row = element(table, "tr");
      element(row, "th", lane.name);
      element(row, "td", lane.sent[bin] || 0);
      element(row, "td", lane.lost[bin] || 0, lane.lost[bin] ? "bad" : "");
      var kept = lane.unsent ? lane.unsent[bin] || 0 : 0;
      if (unsent) element(row, "td", kept, kept ? "bad" : "");
      ["p50", "p99", "max"].forEach(function (key) { element(row, "td", duration(lane[key][bin])); });
    });
    data.lanes.forEach(function (lane, at) {
      Array.prototype.forEach.call(doubts[at] || [], function (hatch) {
        if (+hatch.dataset.a > ms || ms >= +hatch.dataset.b) return;
        element(readout, "p", lane.name + ": " + hatch.title, "doubt");
      });
    });
    // What happened here: as near as a hand can point.
    var reach = (to - from) / 80, told = 0;
    rows.forEach(function (row) {
      if (told < 6 && Math.abs(+row.dataset.at - data.from - ms) <= reach) {
        element(readout, "p", row.cells[0].textContent + "  " + row.cells[2].textContent);
        told += 1;
      }
    });
    var box = tl.getBoundingClientRect(), x = event.clientX - box.left, y = event.clientY - box.top;
    readout.hidden = false;
    var right = x + 18 + readout.offsetWidth < box.width;
    readout.style.left = Math.max(0, right ? x + 18 : x - 18 - readout.offsetWidth) + "px";
    readout.style.top = Math.max(0, Math.min(y + 12, box.height - readout.offsetHeight)) + "px";
    cursor.hidden = false;
    cursor.style.left = percent(ms) + "%";
  }

  function hide() { readout.hidden = cursor.hidden = true; }

  tl.addEventListener("pointermove", function (event) {
    var ms = place(event);
    if (ms === null) { hide(); return; }
    tell(ms, event);
    if (anchor !== null) {
      chosen.hidden = false;
      chosen.style.left = percent(Math.min(anchor, ms)) + "%";
      chosen.style.width = Math.abs(percent(ms) - percent(anchor)) + "%";
    }
  });
  tl.addEventListener("pointerdown", function (event) {
    if (event.button === 0) anchor = place(event);
    if (anchor !== null && event.pointerType === "touch") tell(anchor, event);
  });
  window.addEventListener("pointerup", function (event) {
    var ms = place(event), begun = anchor;
    anchor = null;
    chosen.hidden = true;
    // A click is no drag: less than a hundredth of what is shown.
    if (begun === null || ms === null || Math.abs(ms - begun) < (to - from) / 100) return;
    show(Math.min(begun, ms), Math.max(begun, ms));
  });
  window.addEventListener("pointercancel", function () { anchor = null; chosen.hidden = true; });
  tl.addEventListener("pointerleave", hide);
  tl.addEventListener("dblclick", function () { show(0, data.span); });
  reset.addEventListener("click", function () { show(0, data.span); });
  window.addEventListener("beforeprint", function () {
    hide();
    document.querySelectorAll("details").forEach(function (one) { one.open = true; });
  });
})();
