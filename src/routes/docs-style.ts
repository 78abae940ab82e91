/** How the documentation page looks, by day and by night, on a desk and on a phone. */
export const STYLE = `
:root { --page: #fff; --panel: #f6f7f9; --line: #e2e5ea; --text: #1c2230; --soft: #5b6474; --link: #0b62c4;
  --mark: #fff6d6; --get: #0b62c4; --post: #16794c; --put: #9a6300; --delete: #b3261e;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
@media (prefers-color-scheme: dark) { :root { --page: #12151c; --panel: #1a1f29; --line: #2c3340; --text: #e3e7ee;
  --soft: #9aa4b5; --link: #7db4ff; --mark: #3a3413; --get: #7db4ff; --post: #62d39b; --put: #eab35a; --delete: #ff8f86; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
a { color: var(--link); text-decoration: none; }
a:hover { text-decoration: underline; }
code { font-family: var(--mono); font-size: .875em; overflow-wrap: anywhere; }
p code, td code, li code { background: var(--panel); border-radius: 4px; padding: .1em .3em; }
nav { max-height: 40vh; overflow-y: auto; padding: 1.5rem 1.25rem; border-bottom: 1px solid var(--line); background: var(--panel); font-size: .875rem; }
nav p { margin: 1rem 0 .25rem; font-weight: 600; }
nav p a { color: inherit; }
nav .title { margin-top: 0; font-size: 1.125rem; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li a { display: flex; gap: .5rem; align-items: baseline; padding: .125rem 0; color: var(--soft); }
nav li a:hover { color: var(--text); }
main { padding: 1.5rem 1.25rem 6rem; max-width: 60rem; margin: 0 auto; }
h1, h2, h3, h4 { line-height: 1.25; overflow-wrap: anywhere; }
h1 { font-size: 2.25rem; margin: 0 0 1rem; letter-spacing: -.02em; }
h2 { font-size: 1.625rem; margin: 3.5rem 0 .5rem; letter-spacing: -.01em; }
h2 + p { color: var(--soft); margin-top: 0; }
h3 { font-size: 1.1875rem; margin: 0 0 .5rem; }
h4 { font-size: .9375rem; margin: 1.75rem 0 .5rem; }
article { border-top: 1px solid var(--line); padding: 1.75rem 0 .75rem; margin-top: 1.5rem; }
.endpoint { margin: 0 0 .75rem; }
.endpoint code { background: none; padding: 0; font-size: .9375rem; }
.method { display: inline-block; min-width: 3.75rem; padding: .1rem .4rem; border: 1px solid; border-radius: 4px;
  font: 600 .6875rem/1.4 var(--mono); text-align: center; vertical-align: .1em; }
nav .method { min-width: 3.25rem; padding: 0; border: 0; text-align: left; }
.method.get { color: var(--get); } .method.post { color: var(--post); }
.method.put { color: var(--put); } .method.delete { color: var(--delete); }
.status { font: 600 .8125rem var(--mono); padding: .1rem .4rem; border-radius: 4px; background: var(--panel);
  border: 1px solid var(--line); }
pre { margin: .5rem 0; padding: .75rem 1rem; overflow-x: auto; background: var(--panel); border: 1px solid var(--line);
  border-radius: 6px; line-height: 1.5; }
pre code { overflow-wrap: normal; font-size: .8125rem; }
pre.try { border-left: 3px solid var(--post); white-space: pre-wrap; }
.try code { overflow-wrap: anywhere; }
table { width: 100%; margin: .75rem 0; border-collapse: collapse; font-size: .875rem; line-height: 1.5; }
th, td { padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-weight: 500; font-size: .8125rem; }
tbody th { width: 30%; font-weight: 600; }
tbody th + td { width: 26%; }
th em { font-style: normal; font-weight: 400; font-size: .75rem; color: var(--delete); }
td small { display: block; color: var(--soft); font-size: .75rem; }
.codes th, .codes td { width: auto; }
.codes th code { white-space: nowrap; }
tr:target, article:target > h3 { background: var(--mark); }
.media { margin: 1rem 0 .25rem; font-size: .875rem; }
details { margin: .25rem 0; }
summary { cursor: pointer; color: var(--link); font-size: .875rem; }
figure { margin: .5rem 0; }
figcaption { color: var(--soft); font-size: .8125rem; }
figure pre { margin-top: .125rem; }
.failures { list-style: none; margin: 0; padding: 0; font-size: .875rem; }
.failures li { padding: .15rem 0; }
@media (min-width: 64rem) {
  body { display: grid; grid-template-columns: 19rem minmax(0, 1fr); }
  nav { position: sticky; top: 0; height: 100vh; max-height: none; border: 0; border-right: 1px solid var(--line); }
  main { margin: 0; padding: 3rem 3.5rem 8rem; }
}
@media (max-width: 40rem) {
  thead { display: none; }
  tr, th, td, tbody th + td, tbody th { display: block; width: auto; padding: 0; border: 0; }
  tr { padding: .6rem 0; border-bottom: 1px solid var(--line); }
  td small { display: inline; margin-left: .5rem; }
  .codes td { display: inline; margin-right: .75rem; }
  .codes td[data-label] { display: inline-block; }
  .codes td[data-label]::before { content: attr(data-label) ": "; color: var(--soft); }
}
`
