/**
 * Checkpoints: one safetensors file per step with parameters, optimiser slots and where the run stood. A file is
 * written aside and renamed, so a run killed at any moment resumes from the last complete one.
 */
import { type Tensor, tensor, ValueError } from '@heed/tensor'
import { openWeights, writeSafetensors } from '@heed/weights'
import type { Slots } from './optimizer.js'
import type { Storage } from './storage.js'

export interface TrainingState {
  /** Steps done. */
  step: number
  params: Readonly<Record<string, Tensor>>
  slots: Readonly<Record<string, Slots>>
  optimizer: string
  seed: number
}

const nameOf = (step: number): string => `checkpoint-${String(step).padStart(8, '0')}.safetensors`
const NAME = /^checkpoint-(\d{8,})\.safetensors$/

export async function saveCheckpoint(
  storage: Storage,
  state: TrainingState,
  options: { keep?: number } = {},
): Promise<string> {
  const entries: [string, Tensor][] = Object.entries(state.params).map(([path, t]) => [`param.${path}`, t])
  for (const [path, slots] of Object.entries(state.slots))
    for (const [slot, t] of Object.entries(slots)) entries.push([`slot.${slot}.${path}`, t])
  const tensors: Record<string, { dtype: 'F32'; shape: number[]; data: Float32Array }> = {}
  for (const [name, t] of entries)
    tensors[name] = {
      dtype: 'F32',
      shape: [...t.shape],
      data: Float32Array.from((await t.data()) as Float32Array),
    }
  const metadata = {
    format: 'heed-checkpoint-1',
    step: `${state.step}`,
    optimizer: state.optimizer,
    seed: `${state.seed}`,
  }
  const name = nameOf(state.step)
  await storage.write(name, writeSafetensors(tensors, metadata))
  const old = (await checkpoints(storage)).slice(0, -(options.keep ?? 2))
  for (const step of old) await storage.remove(nameOf(step))
  return name
}

/** Steps that have a checkpoint, ascending. */
export async function checkpoints(storage: Storage): Promise<number[]> {
  const steps = (await storage.list()).flatMap((name) => {
    const m = NAME.exec(name)
    return m ? [Number(m[1])] : []
  })
  return steps.sort((a, b) => a - b)
}

export interface Restored {
  readonly state: TrainingState
  /** Files that were there but not usable, with the reason. */
  readonly skipped: readonly string[]
}
/** The last complete checkpoint, or null. Damaged files are passed over and named. */
export async function loadCheckpoint(storage: Storage): Promise<Restored | null> {
  const skipped: string[] = []
  for (const step of (await checkpoints(storage)).reverse()) {
    const name = nameOf(step)
    try {
      return { state: await readCheckpoint(storage, name), skipped }
    } catch (error) {
      skipped.push(`${name}: ${error instanceof Error ? error.message : error}`)
    }
  }
  if (skipped.length > 0)
    throw new ValueError(`checkpoint: none can be read: ${skipped.join('; ')}; remove them to start anew`)
  return null
}

async function readCheckpoint(storage: Storage, name: string): Promise<TrainingState> {
  const bytes = await storage.read(name)
  if (!bytes) throw new ValueError(`${name} is gone`)
  const file = await openWeights(bytes)
  const { metadata } = file
  if (metadata?.format !== 'heed-checkpoint-1')
    throw new ValueError(`${name} is no checkpoint of this version`)
  const params: Record<string, Tensor> = {}
  const slots: Record<string, Record<string, Tensor>> = {}
  for (const key of file.names) {
    const t = tensor(await file.readF32(key), { shape: file.info(key).shape })
    if (key.startsWith('param.')) params[key.slice(6)] = t
    else {
      const [, slot, path] = /^slot\.([^.]+)\.(.*)$/.exec(key) ?? []
      slots[path] ??= {}
      slots[path][slot] = t
    }
  }
  return {
    step: Number(metadata.step),
    params,
    slots,
    optimizer: metadata.optimizer,
    seed: Number(metadata.seed),
  }
}
