"""How the page looks: light and dark by the reader's choice, and on paper."""

CSS = """
:root { color-scheme: light dark;
  --paper: #ffffff; --panel: #f6f7f9; --ink: #1a2230; --soft: #5b6675; --line: #dde2e8; --accent: #2563a8;
  --area: #2563a833;
  --p1: #b3261e; --p2: #d9601a; --p3: #c99700; --p4: #4d7fb3; --p5: #8794a3; --onbar: #ffffff;
  --h0: #e3ecf4; --h1: #fbd9a0; --h2: #f3a357; --h3: #dc5f3c; --h4: #a31d2b; --mark: #fff3c4; --good: #22754a; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #12161c; --panel: #1b212a; --ink: #e6eaf0; --soft: #9aa6b5; --line: #2d3642; --accent: #7fb2ee;
  --area: #7fb2ee33;
  --p1: #e5564d; --p2: #e8823f; --p3: #d3a72c; --p4: #5f93c9; --p5: #7a8797; --onbar: #101418;
  --h0: #25313d; --h1: #6b5220; --h2: #a8651f; --h3: #d2603c; --h4: #f0525f; --mark: #3b3413; --good: #6cc596; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 28px 32px 48px; max-width: 1240px; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 25px; margin: 0 0 2px; }
h2 { font-size: 18px; margin: 38px 0 4px; }
h3 { font-size: 15px; margin: 20px 0 2px; }
p { margin: 4px 0 10px; }
.soft, .legend, caption { color: var(--soft); font-size: 13px; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(140px, 1fr)); gap: 10px; margin: 20px 0 0; }
.card { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px; }
.card b { display: block; font-size: 19px; line-height: 1.25; font-weight: 650; }
.card span { color: var(--soft); font-size: 13px; display: block; }
.plot { display: block; width: 100%; height: auto; margin: 4px 0;
  font: 12px system-ui, "Segoe UI", Roboto, Arial, sans-serif; }
.plot text { fill: var(--ink); }
.plot .grid { stroke: var(--line); stroke-width: 1; }
.plot .tick, .plot .where, .plot .node { fill: var(--soft); font-size: 11.5px; }
.plot .name { font-weight: 600; font-size: 13px; }
.plot .fact { font-size: 12px; }
.plot .inside { fill: var(--onbar); }
.plot .badge { font-weight: 700; }
.plot .badge.p1 { fill: var(--p1); } .plot .badge.p2 { fill: var(--p2); } .plot .badge.p3 { fill: var(--p3); }
.plot .badge.p4 { fill: var(--p4); } .plot .badge.p5 { fill: var(--p5); }
.plot .lane, .plot .touch { fill: transparent; }
.plot .row:hover .lane, .plot .row:focus .lane { fill: var(--panel); }
.plot .touch:hover { fill: var(--area); }
.bar.p1 { fill: var(--p1); } .bar.p2 { fill: var(--p2); } .bar.p3 { fill: var(--p3); } .bar.p4 { fill: var(--p4); }
.bar.p5 { fill: var(--p5); }
.unseen { fill: var(--paper); fill-opacity: .6; }
.area { fill: var(--area); stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; }
.cell.none { fill: transparent; stroke: var(--line); }
.h0 { fill: var(--h0); background: var(--h0); } .h1 { fill: var(--h1); background: var(--h1); }
.h2 { fill: var(--h2); background: var(--h2); } .h3 { fill: var(--h3); background: var(--h3); }
.h4 { fill: var(--h4); background: var(--h4); }
.missed { fill: var(--ink); stroke: var(--paper); stroke-width: 1; }
.key { white-space: nowrap; margin-right: 14px; }
.swatch { display: inline-block; width: 13px; height: 13px; border-radius: 3px; margin-right: 5px;
  vertical-align: -2px; }
.swatch.dot { background: var(--ink); border-radius: 50%; width: 8px; height: 8px; vertical-align: 0; }
.swatch.p1 { background: var(--p1); } .swatch.p2 { background: var(--p2); } .swatch.p3 { background: var(--p3); }
.swatch.p4 { background: var(--p4); } .swatch.p5 { background: var(--p5); }
.wide { overflow-x: auto; }
.wide .plot { min-width: 780px; } .wide table { min-width: 700px; } #incidents .wide table { min-width: 900px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; padding: 2px 0 6px; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: 12.5px; border-bottom: 1px solid var(--line); }
th, td { padding: 6px 16px 6px 0; vertical-align: top; }
th:last-child, td:last-child { padding-right: 4px; }
td { border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th.number, td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.id, td.when { white-space: nowrap; }
td .under { color: var(--soft); font-size: .92em; }
.pill { display: inline-block; min-width: 30px; text-align: center; padding: 1px 6px; border-radius: 10px;
  color: var(--onbar);
  font-weight: 700; font-size: 12px; }
.pill.p1 { background: var(--p1); } .pill.p2 { background: var(--p2); } .pill.p3 { background: var(--p3); }
.pill.p4 { background: var(--p4); } .pill.p5 { background: var(--p5); }
.bad { color: var(--p1); font-weight: 600; } .good { color: var(--good); }
tr:target td { background: var(--mark); }
a { color: var(--accent); }
footer { margin-top: 40px; border-top: 1px solid var(--line); padding-top: 10px; }
@page { size: A4 landscape; margin: 11mm; }
@media print {
  :root { --paper: #ffffff; --panel: #ffffff; --ink: #000000; --soft: #444444; --line: #d5d9de; --accent: #1b4f8a;
    --area: #2563a833; --p1: #b3261e; --p2: #d9601a; --p3: #c99700; --p4: #4d7fb3; --p5: #8794a3; --onbar: #ffffff;
    --h0: #e3ecf4; --h1: #fbd9a0; --h2: #f3a357; --h3: #dc5f3c; --h4: #a31d2b; --mark: #ffffff; --good: #22754a; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { padding: 0; max-width: none; font-size: 11px; } .card { padding: 6px 8px; } .card b { font-size: 15px; }
  .card span, .soft, .legend, caption { font-size: 10px; } th, td { padding-top: 3px; padding-bottom: 3px; }
  table, th { font-size: 10.5px; }
  .plot, .card, tr, h3 { break-inside: avoid; } h2, h3, .legend { break-after: avoid; }
  .wide { overflow: visible; } .wide .plot, .wide table, #incidents .wide table { min-width: 0; }
}
"""
