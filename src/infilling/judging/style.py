"""The style sheet of the HTML page: light and dark, on screens and on paper."""

COLOURS = 8
"""Colours for engines, `--c0` and on; `--c0` belongs to the one in question."""

STYLE = """
:root {
  color-scheme: light dark;
  --back: #fbfbfa; --card: #fff; --ink: #1d1f23; --soft: #62666e; --rule: #e4e4e1; --hover: #f4f4f1;
  --good: #1a7f4b; --bad: #b4442c; --best: #e3ecff; --best-rule: #9db8f2;
  --c0: #2f62d9; --c1: #d9480f; --c2: #2b8a3e; --c3: #9c36b5;
  --c4: #b07d00; --c5: #0c8599; --c6: #c2255c; --c7: #6b7280;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #15171a; --card: #1c1f23; --ink: #e8e8e6; --soft: #9a9ea6; --rule: #2f3338; --hover: #23272c;
    --good: #5fcf95; --bad: #f0876f; --best: #1f2f52; --best-rule: #4469b8;
    --c0: #7ba4ff; --c1: #ff8f5c; --c2: #6fd184; --c3: #d58cf0;
    --c4: #e5bb4e; --c5: #5ccbdc; --c6: #ff85ad; --c7: #a3a9b3;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1480px; margin: 0 auto; padding: 36px 28px 60px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 19px; margin: 0 0 12px; }
h3 { font-size: 15px; margin: 18px 0 8px; }
section {
  background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 22px 24px;
  margin-top: 20px; }
.lead { font-size: 17px; margin: 0 0 10px; }
.facts { list-style: none; display: flex; flex-wrap: wrap; gap: 8px; margin: 0; padding: 0; }
.facts li {
  border: 1px solid var(--rule); background: var(--card); border-radius: 99px; padding: 2px 12px;
  font-size: 13px; color: var(--soft); }
.hint { color: var(--soft); font-size: 13px; margin: 12px 0 0; }
small { font-size: 11.5px; color: var(--soft); }
.good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; }

table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { text-align: right; padding: 7px 9px; white-space: nowrap; }
tbody tr { border-top: 1px solid var(--rule); }
tbody tr:hover { background: var(--hover); }
thead th { font-weight: 500; font-size: 12.5px; color: var(--soft); padding-bottom: 6px; }
thead th i { font-style: normal; opacity: .7; }
thead tr:first-child th[colspan] { text-align: center; border-bottom: 1px solid var(--rule);
  font-size: 11.5px;
  letter-spacing: .05em; text-transform: uppercase; padding: 2px 10px 4px; }
th:first-child { text-align: left; position: sticky; left: 0; background: var(--card); }
tbody th { font-weight: 600; }
tbody tr:hover th:first-child { background: var(--hover); }
td { vertical-align: top; } tbody th { vertical-align: top; }
.figures { width: 100%; }
.figures td b {
  background: var(--best); box-shadow: 0 0 0 1px var(--best-rule); border-radius: 5px;
  padding: 1px 5px; margin-right: -5px; }
.figures td small { display: block; line-height: 1.2; }
.figures small.good { color: var(--good); } .figures small.bad { color: var(--bad); }
.absent { text-align: left; color: var(--soft); }
.track { display: block; position: relative; height: 4px; min-width: 44px; margin: 4px 0 3px;
  border-radius: 2px;
  background: linear-gradient(var(--soft), var(--soft)) center / 1px 100% no-repeat, var(--rule); }
.bar { position: absolute; top: 0; height: 4px; border-radius: 2px; background: currentColor; }
.classes td { padding: 3px 10px; } .classes tbody th { font-weight: 400; padding: 3px 10px; }

.legend {
  list-style: none; display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 0 0 10px; padding: 0;
  font-size: 14px; }
.key { width: 22px; height: 12px; margin-right: 6px; vertical-align: -1px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 20px; }
.charts figure { margin: 0; max-width: 520px; } .charts figcaption { font-weight: 600; font-size: 14px; }
.charts svg { width: 100%; height: auto; display: block; }
svg text { font-size: 11px; fill: var(--soft); } svg text.faint { font-size: 10px; opacity: .75; }
.grid { stroke: var(--rule); fill: none; } .line { stroke: var(--c); fill: none; stroke-linejoin: round; }
.dot { fill: var(--c); stroke: var(--card); stroke-width: 1; }

.pictures { overflow-x: auto; }
.row {
  display: grid; grid-template-columns: repeat(var(--columns), minmax(104px, 176px)); gap: 8px;
  margin-bottom: 12px; }
.row figure { margin: 0; min-width: 0; }
.row img, .none {
  width: 100%; aspect-ratio: 1; display: block; border-radius: 6px; background: var(--rule); }
.row figcaption {
  font-size: 12.5px; color: var(--soft); display: flex; justify-content: space-between; gap: 6px;
  padding-top: 2px; overflow-wrap: anywhere; }
.row figcaption b { flex: none; color: var(--ink); font-weight: 500; font-variant-numeric: tabular-nums; }
.row figcaption b.top { font-weight: 700; color: var(--good); }
.row figcaption i {
  flex: 0 9999 auto;
  font-style: normal; opacity: .8; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  direction: rtl; }

details summary { cursor: pointer; color: var(--soft); font-size: 13px; }
summary h2 { display: inline; margin-right: 8px; color: var(--ink); }
details .scroll { margin-top: 12px; }
.notes ul { margin: 0; padding-left: 20px; } .notes { font-size: 14px; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 8px 40px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
@media print { body { background: none; } section { break-inside: avoid-page; border: 0; padding: 12px 0; } }
"""
