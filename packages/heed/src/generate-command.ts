/** `heed generate`: continues a text, token by token. */
import { generate, loadModel } from '@heed/models'
import { integerOf, numberOf, type Options, optionHelp, parseArgs, stringOf } from './args.js'
import { checkBackend, useBackend } from './backend.js'
import { UsageError } from './errors.js'
import type { Io } from './io.js'
import { DEMO_SENTENCE, textFrom } from './text-input.js'

const OPTIONS: Options = {
  file: {
    value: 'FILE',
    help: 'read the text from a UTF-8 file; “-” instead of a text reads standard input',
  },
  model: { value: 'FOLDER', help: 'a Hugging Face folder (GPT-2 family), or built-in (default)' },
  max: { value: 'N', help: 'new tokens at most (default 50, less where the context ends)' },
  temperature: {
    value: 'T',
    help: '0 (default): always the likeliest token; above 0: sample, 1 as the model says',
  },
  'top-k': { value: 'K', help: 'sample among the K likeliest' },
  'top-p': { value: 'P', help: 'sample among the likeliest that hold P (0 to 1) of the probability' },
  stop: { value: 'TEXT', help: 'end before this text' },
  seed: { value: 'N', help: 'seed of the sampling (default 0)' },
  backend: { value: 'NAME', help: 'cpu (default), reference or reference-f64' },
  help: { help: 'this page' },
}

const help = (): string => `Usage: heed generate ["text" | --file FILE | -] [options]

Continues a text with a decoder (GPT-2 family). The same options and seed give the same text.

Without a text it continues: ${DEMO_SENTENCE}

${optionHelp(OPTIONS)}

Examples:
  heed generate "Once upon a time" --max 60
  heed generate "Once upon a time" --temperature 0.8 --top-k 20 --seed 1

Exit code 0, or 1 with one line on standard error.
`

export async function generateCommand(argv: readonly string[], io: Io): Promise<void> {
  const p = parseArgs(argv, OPTIONS, 'generate')
  if (p.values.help) {
    io.stdout.write(help())
    return
  }
  const temperature = numberOf(p, 'temperature', 0) ?? 0
  const samples = ['top-k', 'top-p', 'seed'].find((name) => stringOf(p, name) !== undefined)
  if (samples && temperature === 0)
    throw new UsageError(`--${samples} needs sampling; give a --temperature above 0, such as 1`)
  const given = {
    maxNewTokens: integerOf(p, 'max', 1),
    temperature,
    topK: integerOf(p, 'top-k', 1),
    topP: numberOf(p, 'top-p', 0, 1),
    seed: integerOf(p, 'seed', 0) ?? 0,
    stop: stringOf(p, 'stop'),
  }
  if (given.topP === 0) throw new UsageError(`--top-p is '0'; give a share above 0, up to 1`)
  const backend = checkBackend(stringOf(p, 'backend'))
  const { text } = await textFrom(p.words, stringOf(p, 'file'), io)
  await useBackend(backend)
  const folder = stringOf(p, 'model')
  const model = await loadModel(folder === undefined || folder === 'built-in' ? undefined : folder)
  if (model.kind !== 'decoder')
    throw new UsageError(
      `--model ${folder} is an encoder; it fills masks but continues no text: use heed explain`,
    )
  const options = Object.fromEntries(Object.entries(given).filter(([, v]) => v !== undefined))
  // the text is echoed when the model has taken it, so that an error leaves nothing on standard output
  const pieces = generate(model, text, options)
  let next = await pieces.next()
  io.stdout.write(text)
  for (; !next.done; next = await pieces.next()) io.stdout.write(next.value.text)
  io.stdout.write('\n')
}
