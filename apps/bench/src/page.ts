/** The results as one HTML file without scripts. */
import type { CaseResult } from './measure.js'
import { caseSection, lengths, roofline, STYLE, safe } from './plots.js'
import type { ResultFile } from './result.js'
import { aboutLines } from './table.js'

export const page = (
  file: ResultFile,
  results: readonly CaseResult[],
  command: string,
): string => `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Heed benchmark</title>
<style>${STYLE}</style></head><body>
<h1>Heed benchmark</h1>
${aboutLines(file, command)
  .map((line) => `<p>${safe(line)}</p>`)
  .join('\n')}
<p>Medians, bars from zero, dark lines from p10 to p90; ÷ heed is the time in ours of as many threads: above 1 we are faster.</p>
${results.map(caseSection).join('\n')}
${lengths(results)}
${roofline(results, file.machine)}
</body></html>
`
