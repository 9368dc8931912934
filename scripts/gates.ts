// The release gates: `pnpm gates [NAME]…` runs them on what is built and ends with exit code 1 when one is red.
// `pnpm gates readmes --write` puts what the programs print now into the READMEs: read the difference before you commit it.
import { arrows } from './gates/arrows.js'
import { changesets } from './gates/changesets.js'
import { published } from './gates/published.js'
import { readmes, writeReadmes } from './gates/readmes.js'
import { sizes } from './gates/sizes.js'
import { generated, structure } from './gates/structure.js'
import { unused } from './gates/unused.js'
import type { Gate } from './gates/workspace.js'

const gates: Record<string, Gate> = {
  generated,
  arrows,
  structure,
  unused,
  changesets,
  sizes,
  published,
  readmes,
}

const asked = process.argv.slice(2).filter((word) => word !== '--write')
if (process.argv.includes('--write')) gates.readmes = writeReadmes
const unknown = asked.filter((name) => !(name in gates))
if (unknown.length) {
  console.error(`unknown gate ${unknown.join(', ')}: there are ${Object.keys(gates).join(', ')}`)
  process.exit(1)
}
let red = 0
for (const name of asked.length ? asked : Object.keys(gates)) {
  const started = performance.now()
  const notes: string[] = []
  const errors = await (gates[name] as Gate)(notes)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`${errors.length ? 'RED  ' : 'green'} ${name} (${seconds} s)`)
  for (const note of notes) console.log(`      ${note}`)
  for (const error of errors) console.log(`    ✗ ${error.replaceAll('\n', '\n      ')}`)
  if (errors.length) red++
}
if (red) process.exitCode = 1
