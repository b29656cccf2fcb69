"""The rules of a measurement's page that other pages do not need."""

STYLE = """
body { max-width: 60rem; }
header p { margin: .4rem 0; }
ul.said { list-style: none; margin: 1rem 0; padding: .3rem .8rem; background: var(--lift);
  border-left: 4px solid var(--mark); }
ul.said li { font-size: 1.1rem; line-height: 1.35; padding: .45rem 0; }
ul.said li + li { border-top: 1px solid var(--rule); }
:root { --mark: #0072b2; --alert: #b34700; --lift: #f4f6f8; }
@media (prefers-color-scheme: dark) {
  :root { --mark: #56b4e9; --alert: #f0a35e; --lift: #20242b; } }
h3 { font-size: 1.1rem; margin-top: 2rem; }
ul.warnings { list-style: none; margin: 0; padding: 0; }
ul.warnings li { border-left: 4px solid var(--alert); background: var(--lift); padding: .5rem .8rem;
  margin: .5rem 0; }
ul.warnings p { margin: .2rem 0; } .remedy { color: var(--soft); }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--mark); }
pre { white-space: pre-wrap; background: var(--lift); padding: .6rem .8rem; font-size: .9rem; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2rem 1rem;
  font-size: .9rem; margin: .8rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
figure.chart { display: grid; grid-template-columns: minmax(0, 30rem) minmax(0, 1fr);
  gap: .5rem 1.5rem; margin: 1.5rem 0; }
figure.chart img { width: 100%; } figure.chart p { margin: 0; }
figure.chart figcaption { display: contents; color: var(--soft); }
figure.chart p { font-size: .9rem; color: var(--soft); }
figure.chart details { grid-column: 1 / -1; margin: 0; }
table.cards { width: 100%; }
.cards th[scope=row] { min-width: 10rem; }
@media (max-width: 46rem) {
  figure.chart { grid-template-columns: minmax(0, 1fr); }
  table.cards, .cards tbody, .cards caption { display: block; }
  .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); }
  .cards tr { display: flex; flex-wrap: wrap; gap: .2rem .8rem; padding: .6rem 0;
    border-bottom: 1px solid var(--rule); }
  .cards th, .cards td, .cards td.number { display: block; border: 0; padding: 0; text-align: left;
    white-space: nowrap; }
  .cards th, .cards td:not(.number) { flex-basis: 100%; white-space: normal;
    overflow-wrap: anywhere; }
  .cards td.number { min-width: 4.6rem; }
  .cards td:empty { display: none; }
  .cards td::before { content: attr(data-label); display: block; color: var(--soft);
    font-size: .8rem; }
  .cards td:not(.number)::before { display: inline; margin-right: .4rem; } }
"""
