/** The numbers of the run that made the built-in model, in one place; the README says where they come from. */
import type { Phase } from './batches.js'
import type { InitOptions, Shape } from './model.js'
import { VOCAB_SIZE } from './tokens.js'

export const shape: Shape = { layers: 3, heads: 4, dModel: 128, context: 256, vocabSize: VOCAB_SIZE }
export const init: InitOptions = {
  seed: 0,
  embed: 0.1,
  position: 0.25,
  matrix: 0.08,
  shiftedHeads: 2,
  shiftGain: 4,
}
export const SEED = 0

/** Short rows full of repeats first, until the induction head stands; then ever longer rows with more text. */
export const phases: readonly Phase[] = [
  {
    steps: 600,
    rows: 32,
    length: 32,
    text: 5 / 32,
    stories: 5 / 32,
    gives: 0,
    repeats: 22 / 32,
    pairs: 0,
    maxPeriod: 16,
  },
  {
    steps: 700,
    rows: 32,
    length: 64,
    text: 16 / 32,
    stories: 10 / 32,
    gives: 0,
    repeats: 6 / 32,
    pairs: 0,
    maxPeriod: 32,
  },
  {
    steps: 700,
    rows: 16,
    length: 128,
    text: 9 / 16,
    stories: 2 / 16,
    gives: 3 / 16,
    repeats: 2 / 16,
    pairs: 0,
    maxPeriod: 64,
  },
  {
    steps: 800,
    rows: 16,
    length: 128,
    text: 9 / 16,
    stories: 1 / 16,
    gives: 3 / 16,
    repeats: 2 / 16,
    pairs: 1 / 16,
    maxPeriod: 64,
  },
  {
    steps: 700,
    rows: 8,
    length: 256,
    text: 5 / 8,
    stories: 1 / 8,
    gives: 1 / 8,
    repeats: 1 / 8,
    pairs: 0,
    maxPeriod: 128,
  },
]
export const steps = phases.reduce((sum, p) => sum + p.steps, 0)

const WARM = 50
const LOW = 7e-4
const HIGH = 3.5e-3
const RISE_FROM = 650
const RISE = 150
const END = 0.05

/** 50 steps of warm-up to 7e-4 while the heads form, then up to 3.5e-3, then a cosine to a twentieth of it. */
export function rate(step: number): number {
  if (step < RISE_FROM) return LOW * Math.min(1, (step + 1) / WARM)
  if (step < RISE_FROM + RISE) return LOW + ((HIGH - LOW) * (step - RISE_FROM)) / RISE
  const done = Math.min(1, (step - RISE_FROM - RISE) / (steps - RISE_FROM - RISE))
  return HIGH * (END + (1 - END) * 0.5 * (1 + Math.cos(Math.PI * done)))
}
export const betas: readonly [number, number] = [0.9, 0.95]
export const weightDecay = 0.1
export const clip = 1
