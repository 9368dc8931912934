/** `heed explain`: reads the options, loads the model, hands both to `explain`, writes what comes back. */
import { stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { loadModel, type TextModel } from '@heed/models'
import { explainReport, failedChecks } from '@heed/viz'
import { saveFile } from '@heed/weights'
import { integerOf, type Options, optionHelp, type Parsed, parseArgs, stringOf } from './args.js'
import { checkBackend, useBackend } from './backend.js'
import { harmless, UsageError } from './errors.js'
import { type ExplainOptions, type Explanation, explain } from './explain.js'
import { explanationJson } from './explain-json.js'
import { type Io, isColorful, widthOf } from './io.js'
import { printExplanation } from './print-explanation.js'
import { modelName } from './provenance.js'
import { type Status, statusLine } from './status.js'
import { DEMO_SENTENCE, readTextFile, textFrom } from './text-input.js'

const OPTIONS: Options = {
  file: {
    value: 'FILE',
    help: 'read the text from a UTF-8 file; “-” instead of a text reads standard input',
  },
  model: { value: 'FOLDER', help: 'a Hugging Face folder (GPT-2 or BERT family), or built-in (default)' },
  with: { value: 'FILE', help: 'encoders: find the nearest of the lines of this file, one sentence a line' },
  layer: { value: 'N', help: 'with --head: show one head, layers counted from 0' },
  head: { value: 'N', help: 'with --layer: show one head, heads counted from 0' },
  top: { value: 'N', help: 'how many predictions, heads and lines to list (default 5)' },
  out: { value: 'FILE', help: 'write the report: one HTML page that asks the network for nothing' },
  json: { help: 'print one line of JSON instead of text (format heed-explain, version 1)' },
  backend: { value: 'NAME', help: 'cpu (default), reference (slow, plain loops) or reference-f64' },
  seed: { value: 'N', help: 'seed of the random orders and sequences (default 0)' },
  quiet: { help: 'no progress on standard error' },
  help: { help: 'this page' },
}

const help = (): string => `Usage: heed explain ["text" | --file FILE | -] [options]

Runs a model on a text and says why it answers as it does.

A decoder (GPT-2) predicts the next token. You see its most likely tokens; which earlier tokens mattered, by attention
rollout and by gradient × input, each checked by deleting tokens against 20 random orders; the heads that matter most
by direct logit attribution, and what kind they are; what each layer would say (logit lens).
An encoder (BERT) fills each [MASK], names a class or an answer (question [SEP] passage); with --with it finds the
nearest line. What is not defined for a model is said so. How far to trust a picture stands under it.

Without a text it explains: ${DEMO_SENTENCE}

${optionHelp(OPTIONS)}

Examples:
  heed explain "The keys to the cabinet are on the" --out report.html
  heed explain "The keys to the cabinet are on the" --layer 1 --head 3
  heed explain "Paris is the [MASK] of France." --model ./bert-base-uncased
  heed explain "A man is eating food." --model ./all-MiniLM-L6-v2 --with sentences.txt
  heed explain --file letter.txt --json > letter.json

Colours only in a terminal; NO_COLOR=1 turns them off. Exit code 0, or 1 with one line on standard error.
`

export async function explainCommand(argv: readonly string[], io: Io): Promise<void> {
  const p = parseArgs(argv, OPTIONS, 'explain')
  if (p.values.help) {
    io.stdout.write(help())
    return
  }
  const wanted = optionsOf(p)
  const backend = checkBackend(stringOf(p, 'backend'))
  const out = stringOf(p, 'out')
  if (out !== undefined) await checkOut(out)
  const { text, isDemo } = await textFrom(p.words, stringOf(p, 'file'), io)
  const lines = await linesFrom(stringOf(p, 'with'))
  await useBackend(backend)

  const status = statusLine(io, p.values.quiet !== true)
  let data: Explanation
  try {
    const model = await load(stringOf(p, 'model'), status)
    const { nLayer, nHead } = model.config
    within('layer', wanted.layer, nLayer)
    within('head', wanted.head, nHead)
    if (lines) checkLines(model, text, lines)
    const own = lines ? { lines: lines.map((l) => l.text) } : {}
    data = await explain(model, text, { ...wanted, ...own, onProgress: (line) => status.show(line) })
    data.provenance.command = commandOf(p, text, wanted)
    // the whole page exists before a byte of it is written, and it is renamed into place
    if (out !== undefined) await writeReport(out, explainReport(withoutPattern(data)))
  } finally {
    status.clear()
  }
  for (const c of failedChecks(data))
    io.stderr.write(
      `heed: warning: SELF-CHECK FAILED: ${c.name} is off by ${c.error.toExponential(1)}, allowed ${c.tolerance}; do not trust these numbers\n`,
    )
  if (p.values.json) io.stdout.write(`${JSON.stringify(explanationJson(data))}\n`)
  else {
    const top = wanted.top ?? 5
    io.stdout.write(`${printExplanation(data, { color: isColorful(io), width: widthOf(io), top, isDemo })}\n`)
  }
  if (out !== undefined) io[p.values.json ? 'stderr' : 'stdout'].write(`\nReport: ${harmless(out)}\n`)
}

type Wanted = Pick<ExplainOptions, 'top' | 'seed' | 'layer' | 'head'>

function optionsOf(p: Parsed): Wanted {
  const layer = integerOf(p, 'layer', 0)
  const head = integerOf(p, 'head', 0)
  if ((layer === undefined) !== (head === undefined))
    throw new UsageError(
      `--${layer === undefined ? 'head' : 'layer'} alone names no head; give --layer and --head together`,
    )
  return {
    top: integerOf(p, 'top', 1, 1000) ?? 5,
    seed: integerOf(p, 'seed', 0) ?? 0,
    ...(layer === undefined ? {} : { layer }),
    ...(head === undefined ? {} : { head }),
  }
}

const within = (name: string, value: number | undefined, count: number): void => {
  if (value !== undefined && value >= count)
    throw new UsageError(
      `--${name} is ${value}; the model has ${count} ${name}${count === 1 ? '' : 's'}${name === 'head' ? ' a layer' : ''}, give ${count === 1 ? '0' : `0 to ${count - 1}`}`,
    )
}

async function load(folder: string | undefined, status: Status): Promise<TextModel> {
  status.show('loading the model')
  return loadModel(folder === undefined || folder === 'built-in' ? undefined : folder, {
    onProgress: (done, of) => status.show(`loading the model: ${done} of ${of} tensors`),
  })
}

interface Line {
  readonly text: string
  /** File and line, from 1. */
  readonly place: string
}

/** The lines of --with that have a word. */
async function linesFrom(file: string | undefined): Promise<Line[] | undefined> {
  if (file === undefined) return undefined
  const lines = (await readTextFile(file, '--with'))
    .split(/\r?\n/)
    .map((text, i) => ({ text: text.trim(), place: `${file} line ${i + 1}` }))
    .filter((l) => l.text !== '')
  if (lines.length === 0) throw new UsageError(`--with ${file} has no lines; put one sentence on each line`)
  return lines
}

/** Sentence vectors read so many tokens and no more: nothing is cut in silence. */
function checkLines(model: TextModel, text: string, lines: readonly Line[]): void {
  if (model.kind === 'decoder')
    throw new UsageError('--with needs an encoder; a decoder makes no sentence vectors, leave it out')
  const limit = Math.min(model.pooling?.maxTokens ?? model.config.nCtx, model.config.nCtx)
  const { tokenizer } = model
  if (!tokenizer) return
  const count = (t: string): number => tokenizer.encode(t, { padding: false, truncation: false }).ids.length
  if (count(text) > limit)
    throw new UsageError(
      `the text has ${count(text)} tokens, a sentence vector of this model reads ${limit}; shorten it, or leave --with out`,
    )
  for (const l of lines)
    if (count(l.text) > limit)
      throw new UsageError(
        `--with ${l.place} has ${count(l.text)} tokens, a sentence vector of this model reads ${limit}; shorten it`,
      )
}

/** The command line that makes the same numbers again, with file names but no paths. */
function commandOf(p: Parsed, text: string, wanted: Wanted): string {
  const isShort = text.length <= 200 && !text.includes('\n')
  const words = ['heed explain', isShort ? quotedForShell(text) : '--file text.txt']
  for (const name of ['model', 'with']) {
    const path = stringOf(p, name)
    if (path !== undefined && path !== 'built-in') words.push(`--${name} ${quotedForShell(modelName(path))}`)
  }
  const backend = stringOf(p, 'backend')
  if (backend !== undefined) words.push(`--backend ${backend}`)
  if (wanted.layer !== undefined) words.push(`--layer ${wanted.layer} --head ${wanted.head}`)
  if (wanted.seed !== 0) words.push(`--seed ${wanted.seed}`)
  return [...words, '--out report.html'].join(' ')
}

const quotedForShell = (text: string): string =>
  /^[\w./-]+$/.test(text) ? text : /["$`\\!]/.test(text) ? `'${text.replaceAll("'", "'\\''")}'` : `"${text}"`

/** The page has its own copy of every pattern. */
function withoutPattern(data: Explanation): Explanation {
  const { pattern: _, ...rest } = data
  return rest
}

/** Said before the work, not after it. */
async function checkOut(path: string): Promise<void> {
  const kindOf = async (p: string): Promise<'folder' | 'file' | null> =>
    stat(p).then(
      (s) => (s.isDirectory() ? 'folder' : 'file'),
      () => null,
    )
  if ((await kindOf(path)) === 'folder') throw new UsageError(`--out ${path} is a folder; name a file in it`)
  if ((await kindOf(dirname(path))) !== 'folder')
    throw new UsageError(`--out ${path}: there is no folder ${dirname(path)}; make it first`)
}

async function writeReport(path: string, html: string): Promise<void> {
  try {
    await saveFile(path, html)
  } catch (error) {
    throw new UsageError(
      `--out ${path} cannot be written: ${(error as Error).message}; name a file in a folder that you may write to`,
    )
  }
}
