/**
 * From a folder of files to a model: config.json, weights, tokenizer.json. It knows which families exist and nothing of
 * how they work.
 */
import { parameters, setParameters, type Tensor, tensor } from '@heed/tensor'
import { type Tokenizer, TokenizerError, tokenizerFromJson } from '@heed/tokenizer'
import { type Folder, openFolder, openWeights, type Weights } from '@heed/weights'
import { ensureBackend } from './backend.js'
import { bert } from './bert.js'
import { builtInFolder } from './built-in.js'
import { meanPooling, readPooling } from './embed.js'
import { ConfigError, checkOptions, ModelError, OptionError } from './errors.js'
import type { Described, Family, Network } from './family.js'
import { gpt2 } from './gpt2.js'
import { HfConfig } from './hf-config.js'
import { assembleModel, type TextModel } from './model.js'
import { readParameters } from './weight-rules.js'

/** One line a family. */
export const families: readonly Family[] = [gpt2, bert]

/** A folder's path or URL, its files in memory, or an opened folder. */
export type ModelSource = string | URL | Readonly<Record<string, Uint8Array>> | Folder

export interface LoadOptions {
  /** Tensors read so far. */
  onProgress?: (done: number, of: number) => void
  /** Another file of the folder than config.json. */
  configFile?: string
  /** Another file of the folder than model.safetensors or its shards. */
  weightsFile?: string
}

/**
 * Loads a model; without a source the built-in one (`@heed/model-tiny`). Sets the CPU backend when none is set.
 * @throws ModelError, ConfigError, WeightsError or TokenizerError: one line that names the file and what to do.
 */
export async function loadModel(source?: ModelSource, options: LoadOptions = {}): Promise<TextModel> {
  checkOptions('loadModel', options, ['onProgress', 'configFile', 'weightsFile'])
  const folder = source === undefined ? await builtInFolder() : await folderOf(source)
  const { configFile = 'config.json', weightsFile } = options
  const hfConfig = await readConfig(folder, configFile)
  const file = inFolder(folder, configFile)
  const family = familyOf(hfConfig, file)
  const tokenizer = await readTokenizer(folder)
  const open = async (): Promise<Weights> =>
    weightsFile ? openWeights(await folder.source(weightsFile)) : openWeights(folder)
  const weights = await open()
  try {
    const config = new HfConfig(file, hfConfig)
    const described = family.fromHf(config, weights.names)
    const unknown = config.unread()
    const network = described.build()
    const ignored = await fill(network, described, weights, options.onProgress)
    const pooling = described.kind === 'encoder' ? ((await readPooling(folder)) ?? meanPooling) : null
    await ensureBackend()
    return assembleModel({
      described,
      network,
      tokenizer,
      source: folder.name,
      notes: [
        ...described.notes,
        ...(unknown.length > 0 ? [`keys of config.json that nobody reads: ${unknown.join(', ')}`] : []),
        ...(ignored.length > 0 ? [`tensors left alone: ${summary(ignored)}`] : []),
      ],
      pooling,
      hfConfig,
      weightsHash: once(async () => {
        const again = await open()
        try {
          return await again.hash()
        } finally {
          await again.close()
        }
      }),
    })
  } finally {
    await weights.close()
  }
}

/** Puts the file's tensors into the network; returns the names that nobody reads. */
async function fill(
  network: Network,
  described: Described,
  weights: Weights,
  progress: LoadOptions['onProgress'],
): Promise<string[]> {
  const { values, ignored } = await readParameters(weights, described.weights, progress)
  const found = new Map<string, Tensor>()
  const wanted = parameters(network)
  for (const [path, { shape }] of wanted) {
    const data = values.get(path)
    if (!data) throw new ModelError(weights.name, `no weight rule fills parameter ${path}`)
    found.set(path, tensor(data, shape))
  }
  for (const path of values.keys())
    if (!wanted.has(path))
      throw new ModelError(weights.name, `a weight rule fills ${path}, which the model does not have`)
  setParameters(network, found)
  return ignored
}

const isFolder = (x: object): x is Folder => 'source' in x && typeof x.source === 'function'

async function folderOf(source: ModelSource): Promise<Folder> {
  if (typeof source === 'string' || source instanceof URL) return openFolder(source)
  if (typeof source !== 'object' || source === null)
    throw new ModelError('loadModel', `the source is ${typeof source}, expected a folder, a URL or files`)
  if (isFolder(source)) return source
  requireFiles(source)
  return openFolder(source)
}

/** Files have names with an ending: an object without any was meant as options, or as the place itself. */
function requireFiles(files: Readonly<Record<string, unknown>>): void {
  const names = Object.keys(files)
  if (names.length === 0 || names.some((name) => name.includes('.'))) return
  const place = names.length === 1 ? files[names[0]] : undefined
  const meant =
    typeof place === 'string' || place instanceof URL ? ` did you mean loadModel('${place}')?` : ''
  throw new OptionError(
    `loadModel: ${names.map((name) => `'${name}'`).join(', ')} is no file of a model;${meant} the source is a folder's path or URL, or its files by name, { 'config.json': bytes, … }; options come second, loadModel(source, { onProgress })`,
  )
}

const inFolder = (folder: Folder, file: string): string => `${folder.name.replace(/\/$/, '')}/${file}`

async function readConfig(folder: Folder, file: string): Promise<Readonly<Record<string, unknown>>> {
  if (!(await folder.has(file))) {
    const others = (await folder.list?.()) ?? []
    const have =
      others.length > 0 ? `it has ${others.slice(0, 8).join(', ')}` : folder.list ? 'it is empty' : ''
    throw new ModelError(folder.name, `has no ${file}, so it is no model folder${have ? `; ${have}` : ''}`)
  }
  const values = await folder.json(file)
  if (typeof values !== 'object' || values === null || Array.isArray(values))
    throw new ConfigError(inFolder(folder, file), 'is not a JSON object')
  return Object.freeze(values as Record<string, unknown>)
}

function familyOf(config: Readonly<Record<string, unknown>>, file: string): Family {
  const type = config.model_type
  const known = families.map((f) => f.modelType).join(', ')
  if (type === undefined) throw new ConfigError(file, `has no model_type; supported are ${known}`)
  const family = families.find((f) => f.modelType === type)
  if (!family)
    throw new ConfigError(file, `model_type ${JSON.stringify(type)} is not supported; supported are ${known}`)
  return family
}

async function readTokenizer(folder: Folder): Promise<Tokenizer | null> {
  if (!(await folder.has('tokenizer.json'))) return null
  const text = await folder.text('tokenizer.json')
  try {
    return tokenizerFromJson(text)
  } catch (error) {
    if (error instanceof TokenizerError)
      error.message = `${inFolder(folder, 'tokenizer.json')}: ${error.message}`
    throw error
  }
}

/** Long lists of similar names, in one line. */
function summary(names: readonly string[]): string {
  const kinds = new Map<string, number>()
  for (const name of [...names].sort()) {
    const kind = name.replace(/\.\d+\./g, '.*.')
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  }
  return [...kinds].map(([kind, n]) => (n > 1 ? `${kind} (${n})` : kind)).join(', ')
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined
  return () => {
    made ??= make()
    return made
  }
}
