// The report's style sheet. Colours of values are classes made from the same ramps that the canvas uses; nothing is
// styled inline, so the content policy can name this sheet by its hash.
import { diverging, hex, ink, levels, type Rgb, sequential, type Theme } from '../scale.js'

const steps = (theme: Theme): string => {
  const rule = (name: string, rgb: Rgb): string => `.${name}{background:${hex(rgb)};color:${hex(ink(rgb))}}`
  let out = rule('z', diverging(0, theme))
  for (let i = 0; i <= levels; i++) out += rule(`s${i}`, sequential(i / levels, theme))
  for (let i = 1; i <= levels; i++)
    out += rule(`p${i}`, diverging(i / levels, theme)) + rule(`n${i}`, diverging(-i / levels, theme))
  return out
}

/** The second carrier of a value: a bar below the token for positive, above it for negative. */
const bars = (): string => {
  let out = ''
  for (let px = 1; px <= 4; px++) {
    const named = (prefix: string): string =>
      Array.from({ length: levels + 1 }, (_, i) => i)
        .filter((i) => i > 0 && Math.round(i / 5) === px)
        .map((i) => `.tok.${prefix}${i}`)
        .join()
    out += `${named('s')},${named('p')}{box-shadow:0 ${px}px var(--ink)}${named('n')}{box-shadow:0 -${px}px var(--ink)}`
  }
  return out
}

export const style = (): string => `
:root{color-scheme:light dark;--ground:#ffffff;--page:#f6f7f9;--ink:#1b1f24;--quiet:#57606b;--line:#d4d9df;--accent:#0b5cad;--in:#a8480a;--none:#e3e6ea;--bad:#c2187a;--warn:#fff3d6}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:64px}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"Noto Sans",sans-serif}
header,main,#controls{max-width:1280px;margin:0 auto;padding:0 20px}
header{padding-top:24px}
h1{font-size:24px;line-height:1.3;margin:0;overflow-wrap:anywhere;text-align:start}
h2{font-size:18px;margin:0 0 10px}
h3{font-size:15px;margin:0}
p{margin:0 0 8px}
.kicker{margin:0;color:var(--quiet);font-size:13px;letter-spacing:.02em}
.quiet,caption,.kicker{color:var(--quiet)}
.quiet,caption{font-size:13px}
.warn{background:var(--warn);padding:8px 12px;border-radius:6px}
section{background:var(--ground);border:1px solid var(--line);border-radius:10px;padding:16px 18px;margin:0 0 16px;min-width:0;contain:layout}
.two{display:grid;grid-template-columns:minmax(0,5fr) minmax(240px,3fr);gap:16px;align-items:stretch}
.two>section{margin:0}.two{margin:0 0 16px}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:24px}
.attention{display:grid;grid-template-columns:minmax(0,300px) minmax(0,1fr) 250px;gap:24px}
figure{margin:0;min-width:0}
figcaption p{margin:2px 0 8px}
.skip{position:absolute;left:-9999px}.skip:focus{left:8px;top:8px;background:var(--ground);padding:8px;z-index:9}
:root:not(.js) .live,.js .static{display:none!important}
#controls{position:sticky;top:0;z-index:5;display:flex;flex-wrap:wrap;gap:6px 16px;align-items:center;padding-top:8px;padding-bottom:8px;margin-bottom:8px;background:var(--page);border-bottom:1px solid var(--line);font-size:14px}
#controls label{display:inline-flex;gap:6px;align-items:center;min-height:28px;min-width:0}
select,button,input{font:inherit;color:inherit}
select,button{background:var(--ground);border:1px solid var(--line);border-radius:6px;padding:3px 8px;min-height:28px;max-width:100%}
#controls select{max-width:210px}
button{cursor:pointer}
input[type=checkbox],input[type=radio]{width:16px;height:16px;margin:0;accent-color:var(--accent)}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px;border-radius:4px}
.tk,.tokens,code{font-family:ui-monospace,Menlo,Consolas,"DejaVu Sans Mono","Noto Sans Mono",monospace}
.tk,.tok{unicode-bidi:isolate;white-space:pre-wrap;overflow-wrap:anywhere}
.tokens{line-height:2.05;margin:0;font-size:13.5px;max-height:60vh;overflow:auto;padding:4px}
.tokens.big{font-size:15px}
.tok{display:inline-block;padding:0 3px;margin:0 1px 0 0;border-radius:3px;cursor:pointer;line-height:1.65;min-width:1.1em;text-align:center}
.tok.special{font-style:italic}
.tok.on{outline:2px solid var(--ink);outline-offset:1px}
.tok.hover{outline:2px dashed var(--accent);outline-offset:1px}
.none{background:none;color:var(--quiet)}
td.none{background:none}
.bad{background:var(--bad);color:#fff;text-decoration:line-through}
.legend{display:flex;flex-wrap:wrap;gap:2px 8px;align-items:center;font-size:13px;margin:8px 0;font-variant-numeric:tabular-nums}
.ramp{display:inline-flex;border:1px solid var(--line);border-radius:3px;overflow:hidden}
.ramp i{width:12px;height:12px}
.scroll{overflow:auto;max-width:100%}
.tall{max-height:600px}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums}
caption{text-align:start;padding:0 0 6px}
th,td{padding:3px 8px;text-align:end;vertical-align:baseline;font-weight:400}
thead th{color:var(--quiet);font-size:12.5px}
thead td{font-size:12px}
th[scope=row],thead th:first-child,td.left,th.left{text-align:start}
.stay{position:sticky;left:0;display:inline-block}
tbody tr+tr{border-top:1px solid var(--line)}
.bars{width:100%}.bars+.bars{margin-top:16px}.bars td:nth-child(2){white-space:nowrap}.bars td:nth-child(3){width:45%}.bars th[scope=row]{text-align:start;overflow-wrap:anywhere}
.bar{display:block;width:100%;height:10px}.track{fill:var(--none)}.fill{fill:var(--accent)}
:root:not(.js) .attention{grid-template-columns:minmax(0,1fr) 280px}:root:not(.js) #head-figure{max-width:640px}
#looks{display:flex;flex-direction:column;gap:16px;min-width:0}
.look{width:100%;table-layout:fixed}.look th:nth-child(1){width:50%;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.look .tk{white-space:pre}
.heads td{min-width:64px}
.heads .open button{border:0;background:none;padding:2px 4px;color:var(--accent);text-decoration:underline;min-height:24px;white-space:nowrap}
.lens{border-collapse:separate;border-spacing:0}
.lens td,.lens thead th{min-width:78px;max-width:130px;text-align:center;padding:4px 6px;border:1px solid var(--ground)}
.lens th:first-child{position:sticky;left:0;min-width:0;text-align:start;background:var(--ground);white-space:nowrap;z-index:1}
.lens td .tk,.lens thead .tk{display:block;white-space:pre;overflow:hidden;text-overflow:ellipsis}
.lens small{display:block;font-size:11px}
.lens .same{text-decoration:underline;text-underline-offset:3px;font-weight:600}
.lens thead th.on{font-weight:700;color:var(--ink);box-shadow:inset 0 -3px var(--ink)}
.lens td.on{box-shadow:inset 2px 0 var(--ink),inset -2px 0 var(--ink)}
.facts th{white-space:nowrap;color:var(--quiet)}.facts td{text-align:start;overflow-wrap:anywhere}.facts ul{margin:0;padding-left:18px}
.facts{width:100%}
code{font-size:12.5px;overflow-wrap:anywhere}
#notes ul{margin:0;padding-left:20px}
.deletion svg{width:100%;max-width:420px;display:block;overflow:visible}
.deletion text{fill:var(--quiet)}.axis{stroke:var(--line)}.random{stroke:var(--quiet)}.method{fill:var(--accent)}
.canvas-box{position:relative;overflow:auto;border:1px solid var(--line);border-radius:6px;background:var(--ground);max-width:100%}
.canvas-box canvas{display:block}
canvas:focus-visible{outline:none}.canvas-box:has(canvas:focus-visible){outline:3px solid var(--accent);outline-offset:2px}
canvas{touch-action:pan-x pan-y}
.tools{display:flex;flex-wrap:wrap;gap:8px 16px;align-items:center;margin-bottom:8px;justify-content:space-between}
.radios{display:inline-flex;flex-wrap:wrap;gap:4px 14px}
.radios label{display:inline-flex;gap:6px;align-items:center;min-height:28px}
.readout{font-size:13px;min-height:3em;margin-top:8px;overflow-wrap:anywhere}
details{margin-top:12px}summary{cursor:pointer;min-height:24px}
.attention svg{max-width:100%;height:auto}
${steps('light')}${bars()}
@media (prefers-color-scheme:dark){
:root{--ground:#16191f;--page:#0d0f13;--ink:#e6e9ee;--quiet:#9aa4b0;--line:#343a43;--accent:#6cb4ff;--in:#ffab5e;--none:#2a2f37;--bad:#ff5cb4;--warn:#3a2f12}
.bad{color:#000}
.v-ground{fill:#16191f}.v-ink{fill:#e6e9ee}.v-quiet{fill:#9aa4b0}.v-lines{stroke:#6cb4ff}.v-error{fill:#ff5cb4}
${steps('dark')}
}
@media (max-width:1100px){.attention{grid-template-columns:minmax(0,260px) minmax(0,1fr)}#looks{grid-column:1/-1;flex-direction:row;flex-wrap:wrap}.look{flex:1 1 240px;width:auto}}
@media (max-width:720px){:root:not(.js) .attention{grid-template-columns:minmax(0,1fr)}#controls{position:static}header,main,#controls{padding-left:10px;padding-right:10px}section{padding:12px}.two,.attention{grid-template-columns:minmax(0,1fr)}h1{font-size:20px}#controls{gap:4px 12px}}
@media print{#controls,.tools,.skip{display:none!important}body{background:#fff}section{break-inside:avoid;border:0}}
`
