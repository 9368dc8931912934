import { realize, reference, tensor } from '@heed/tensor'
import { expect, test } from 'vitest'
import { grow } from './grow.js'
import { initialValues, type Shape, tinyModel, type Values } from './model.js'
import { normals, rng } from './rng.js'

const from: Shape = { layers: 2, heads: 2, dModel: 8, context: 7, vocabSize: 13 }
const to: Shape = { ...from, layers: 3, heads: 3, dModel: 12 }

/** Values as after training: nothing is zero or one any more. */
function trained(): Values {
  const values = initialValues(from, {
    ...{ seed: 3, embed: 0.5, position: 0.5, matrix: 0.4 },
    ...{ shiftedHeads: 1, shiftGain: 2 },
  })
  const r = rng(5)
  for (const { data } of values.values())
    normals(r, data.length, 0.2).forEach((x, i) => {
      data[i] = (data[i] as number) + x
    })
  return values
}

test('a grown model computes what the small one does, and every new weight can learn', async () => {
  const backend = reference({ precision: 'f64' })
  const ids = tensor([[1, 5, 12, 0, 7, 7, 2]], { dtype: 'i32' })
  const values = trained()
  const grown = grow(values, from, to, { seed: 1, matrix: 0.1 })
  const [small, large] = [tinyModel(from, values)(ids), tinyModel(to, grown)(ids)]
  await realize([small, large], { backend })
  const [a, b] = [await small.data(), await large.data()] as [Float32Array, Float32Array]
  const error = Math.max(...a.map((x, i) => Math.abs(x - (b[i] as number))))
  // the ε of the norms weighs half as much again
  expect(error).toBeLessThan(1e-4)
  expect(Math.max(...a.map(Math.abs))).toBeGreaterThan(1)
  for (const [name, { shape, data }] of initialValues(to, {
    ...{ seed: 0, embed: 1, position: 1, matrix: 1, shiftedHeads: 0, shiftGain: 1 },
  })) {
    expect(grown.get(name)?.shape, name).toEqual(shape)
    expect(grown.get(name)?.data.length, name).toBe(data.length)
  }
})

test('what cannot be grown is refused', () => {
  const o = { seed: 1, matrix: 0.1 }
  expect(() => grow(trained(), from, { ...to, heads: 2 }, o)).toThrow(/heads are 4 wide/)
  expect(() => grow(trained(), from, { ...to, layers: 1 }, o)).toThrow(/layers shrinks from 2 to 1/)
  expect(() => grow(trained(), from, { ...to, vocabSize: 14 }, o)).toThrow(/keep their sizes/)
  expect(() => grow(trained(), from, { ...to, context: 9 }, o)).toThrow(/keep their sizes/)
})
