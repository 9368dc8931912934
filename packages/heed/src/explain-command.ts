/** `heed explain`: reads the options, loads the model, hands both to `explain`, writes what comes back. */
import { loadModel } from '@heed/models'
import { explainReport } from '@heed/viz'
import { saveFile } from '@heed/weights'
import { integerOf, type Options, optionHelp, parseArgs, stringOf } from './args.js'
import { useBackend } from './backend.js'
import { UsageError } from './errors.js'
import { explain } from './explain.js'
import { printExplanation } from './print-explanation.js'
import { statusLine } from './status.js'
import { DEMO_SENTENCE, readTextFile, textFrom } from './text-input.js'

const OPTIONS: Options = {
  file: { value: 'FILE', help: 'read the text from a UTF-8 file (- as the text reads standard input)' },
  model: { value: 'FOLDER', help: 'a Hugging Face folder (GPT-2 or BERT family), or built-in (default)' },
  with: { value: 'FILE', help: 'encoders: find the nearest of the lines of this file' },
  layer: { value: 'N', help: 'show this layer, counted from 0 (with --head)' },
  head: { value: 'N', help: 'show this head, counted from 0 (with --layer)' },
  top: { value: 'N', help: 'how many predictions, heads and lines to list (default 5)' },
  out: { value: 'FILE', help: 'write the report, one HTML page that needs no network' },
  json: { help: 'print the result as JSON (schema heed-explain 1) instead of text' },
  backend: { value: 'NAME', help: 'cpu (default), reference or reference-f64' },
  seed: { value: 'N', help: 'seed of the random orders and sequences (default 0)' },
  quiet: { help: 'no progress on standard error' },
  help: { help: 'this page' },
}

const help = (): string => `Usage: heed explain ["text" | --file FILE | -] [options]

Runs a model on a text and says why it answers as it does.

A decoder (GPT-2) predicts the next token: its most likely tokens; which earlier tokens mattered, by attention rollout
and by gradient × input, each checked by deleting tokens against 20 random orders; the heads that matter most by direct
logit attribution, and what kind they are; what each layer would predict (logit lens).
An encoder (BERT) fills each [MASK]; with --with it finds the nearest line. What is not defined for it is said so.

Without a text it explains: ${DEMO_SENTENCE}

${optionHelp(OPTIONS)}

Examples:
  heed explain "The keys to the cabinet are on the" --out report.html
  heed explain "Paris is the [MASK] of France." --model ./bert-base-uncased
  heed explain "A man is eating food." --model ./all-MiniLM-L6-v2 --with sentences.txt
  heed explain --file letter.txt --json > letter.json

Exit code 0, or 1 with one line on standard error.`

export async function explainCommand(argv: readonly string[]): Promise<void> {
  const p = parseArgs(argv, OPTIONS, 'explain')
  if (p.values.help) {
    console.log(help())
    return
  }
  const top = integerOf(p, 'top', 1, 1000) ?? 5
  const layer = integerOf(p, 'layer', 0)
  const head = integerOf(p, 'head', 0)
  const seed = integerOf(p, 'seed', 0) ?? 0
  const out = stringOf(p, 'out')
  const withFile = stringOf(p, 'with')
  const { text, isDemo } = await textFrom(p.words, stringOf(p, 'file'))
  const lines = withFile === undefined ? undefined : linesOf(await readTextFile(withFile, '--with'), withFile)
  await useBackend(stringOf(p, 'backend'))

  const status = statusLine(p.values.quiet !== true)
  try {
    const folder = stringOf(p, 'model')
    status.show('loading the model')
    const model = await loadModel(folder === undefined || folder === 'built-in' ? undefined : folder, {
      onProgress: (done, of) => status.show(`loading the model: ${done} of ${of} tensors`),
    })
    const { nLayer, nHead } = model.config
    if (layer !== undefined && layer >= nLayer)
      throw new UsageError(`--layer is ${layer}; the model has ${nLayer} layers, 0 to ${nLayer - 1}`)
    if (head !== undefined && head >= nHead)
      throw new UsageError(`--head is ${head}; the model has ${nHead} heads, 0 to ${nHead - 1}`)
    if (lines && model.kind === 'decoder')
      throw new UsageError('--with needs an encoder; a decoder makes no sentence vectors')
    const data = await explain(model, text, {
      top,
      seed,
      lines,
      layer,
      head,
      onProgress: (line) => status.show(line),
    })
    // the whole page exists before a byte of it is written, and it is renamed into place
    if (out !== undefined) await writeReport(out, explainReport(data))
    status.clear()
    if (p.values.json) process.stdout.write(`${JSON.stringify(withoutMatrix(data))}\n`)
    else
      process.stdout.write(
        `${printExplanation(data, { color: colorful(), width: width(), top, isDemo, layer, head })}\n`,
      )
    if (out !== undefined) process[p.values.json ? 'stderr' : 'stdout'].write(`report: ${out}\n`)
  } finally {
    status.clear()
  }
}

/** The packed patterns are for the page; JSON readers get everything else. */
function withoutMatrix(data: Awaited<ReturnType<typeof explain>>): object {
  const { patterns: _, ...rest } = data
  return rest
}

async function writeReport(path: string, html: string): Promise<void> {
  try {
    await saveFile(path, html)
  } catch (error) {
    const code = (error as { code?: string }).code
    const why =
      code === 'ENOENT'
        ? 'its folder does not exist'
        : code === 'EISDIR'
          ? 'it is a folder'
          : (error as Error).message
    throw new UsageError(`--out ${path} cannot be written: ${why}; name a file in a folder that exists`)
  }
}

function linesOf(text: string, file: string): string[] {
  const lines = text
    .split(/\r?\n/)
    .map((l) => l.trim())
    .filter((l) => l !== '')
  if (lines.length === 0) throw new UsageError(`--with ${file} has no lines; put one sentence on each line`)
  return lines
}

const colorful = (): boolean =>
  process.stdout.isTTY === true && process.env.NO_COLOR === undefined && process.env.TERM !== 'dumb'
const width = (): number => Math.max(40, Math.min(120, process.stdout.columns ?? 100))
