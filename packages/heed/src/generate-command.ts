/** `heed generate`: continues a text, token by token. */
import { generate, loadModel } from '@heed/models'
import { integerOf, numberOf, type Options, optionHelp, parseArgs, stringOf } from './args.js'
import { useBackend } from './backend.js'
import { UsageError } from './errors.js'
import { textFrom } from './text-input.js'

const OPTIONS: Options = {
  file: { value: 'FILE', help: 'read the text from a UTF-8 file' },
  model: { value: 'FOLDER', help: 'a Hugging Face folder, or built-in (default)' },
  max: { value: 'N', help: 'new tokens at most (default 40)' },
  temperature: { value: 'T', help: 'above 0: sample; 0 takes the likeliest token (default 0)' },
  'top-k': { value: 'K', help: 'sample among the K likeliest' },
  'top-p': { value: 'P', help: 'sample among the likeliest that hold P of the probability' },
  stop: { value: 'TEXT', help: 'end before this text' },
  seed: { value: 'N', help: 'seed of the sampling (default 0)' },
  backend: { value: 'NAME', help: 'cpu (default), reference or reference-f64' },
  help: { help: 'this page' },
}

export async function generateCommand(argv: readonly string[]): Promise<void> {
  const p = parseArgs(argv, OPTIONS, 'generate')
  if (p.values.help) {
    console.log(`Usage: heed generate ["text" | --file FILE | -] [options]\n\n${optionHelp(OPTIONS)}`)
    return
  }
  const { text } = await textFrom(p.words, stringOf(p, 'file'))
  const options = {
    maxNewTokens: integerOf(p, 'max', 1) ?? 40,
    temperature: numberOf(p, 'temperature', 0) ?? 0,
    topK: integerOf(p, 'top-k', 1),
    topP: numberOf(p, 'top-p', 0, 1),
    seed: integerOf(p, 'seed', 0) ?? 0,
    stop: stringOf(p, 'stop'),
  }
  await useBackend(stringOf(p, 'backend'))
  const folder = stringOf(p, 'model')
  const model = await loadModel(folder === undefined || folder === 'built-in' ? undefined : folder)
  if (model.kind !== 'decoder')
    throw new UsageError(
      `--model ${folder} is an encoder; it fills masks but continues no text: heed explain`,
    )
  process.stdout.write(text)
  const given = Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined))
  for await (const piece of generate(model, text, given)) process.stdout.write(piece.text)
  process.stdout.write('\n')
}
