import {
  add,
  gelu,
  grad,
  linear,
  matmul,
  mul,
  type Report,
  realize,
  reference,
  relu,
  reshape,
  scan,
  sigmoid,
  silu,
  slice,
  sum,
  type Tensor,
  tanh,
  tensor,
  transpose,
} from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { uniform } from '../test/oracle.js'
import { type CpuBackend, cpu } from './backend.js'

let backend: CpuBackend
const oracle = reference({ precision: 'f64' })
beforeAll(async () => {
  backend = await cpu()
})

type Make = (...shape: number[]) => Tensor
/** Builds the results for both backends and compares them; returns what ran on WASM. */
async function ran(build: (make: Make) => Tensor[], tolerance = 2e-6): Promise<string[]> {
  const results = [backend, oracle].map(() => {
    let seed = 0
    return build((...shape) => {
      const random = uniform(++seed)
      return tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, random), shape)
    })
  })
  const report: Report = await realize(results[0], { backend, strict: true })
  await realize(results[1], { backend: oracle })
  for (const [i, t] of results[0].entries()) {
    const [got, want] = [await t.data(), await results[1][i].data()]
    expect(got.length).toBe(want.length)
    for (let j = 0; j < got.length; j++) {
      const w = Number(want[j])
      const error = Math.abs(Number(got[j]) - w)
      if (!(error <= tolerance * Math.max(4, Math.abs(w))))
        expect.fail(`result ${i}[${j}]: got ${got[j]}, want ${w}`)
    }
  }
  return report.ran.map((r) => `${r.op} ${r.how}${r.count > 1 ? ` ×${r.count}` : ''}`).sort()
}

const activations: [string, (x: Tensor) => Tensor][] = [
  ['gelu', gelu],
  ['gelu', (x) => gelu(x, { approximate: 'tanh' })],
  ['gelu', (x) => gelu(x, { approximate: 'quick' })],
  ['silu', silu],
  ['relu', relu],
  ['tanh', tanh],
  ['sigmoid', sigmoid],
]

describe('a product and what follows it', () => {
  it.each(activations)('%s', async (name, f) => {
    for (const [rows, n] of [
      [1, 3],
      [7, 21],
      [64, 300],
    ])
      expect(await ran((make) => [f(linear(make(rows, 19), make(19, n), make(n)))])).toEqual([
        `linear+${name} fused`,
      ])
    expect(await ran((make) => [f(matmul(make(5, 19), make(19, 13)))])).toEqual([`matmul+${name} fused`])
  })

  it('an activation and a residual, a residual alone, on either side', async () => {
    expect(
      await ran((make) => [add(make(2, 9, 12), silu(linear(make(2, 9, 8), make(8, 12), make(12))))]),
    ).toEqual(['linear+silu+add fused'])
    expect(await ran((make) => [add(linear(make(9, 8), make(8, 12)), make(9, 12))])).toEqual([
      'linear+add fused',
    ])
    expect(await ran((make) => [add(make(3, 4, 5), matmul(make(3, 4, 6), make(3, 6, 5)))])).toEqual([
      'matmul+add fused',
    ])
  })

  it('chains of blocks: every residual sum goes with its product', async () => {
    const block = (x: Tensor, make: Make): Tensor =>
      add(x, linear(gelu(linear(x, make(12, 40), make(40))), make(40, 12), make(12)))
    expect(await ran((make) => [block(block(make(6, 12), make), make)], 1e-5)).toEqual([
      'linear+add fused ×2',
      'linear+gelu fused ×2',
    ])
  })

  it('a residual that is a product itself', async () => {
    expect(
      await ran((make) => [add(linear(make(6, 5), make(5, 7)), linear(make(6, 4), make(4, 7), make(7)))]),
    ).toEqual(['linear fused', 'linear+add fused'])
    // a product and itself: two readers
    expect(
      await ran((make) => {
        const y = linear(make(6, 5), make(5, 7))
        return [add(y, y)]
      }),
    ).toEqual(['add native', 'linear fused'])
  })

  it('residuals and inputs that lie otherwise in memory', async () => {
    expect(await ran((make) => [add(linear(make(6, 5), make(5, 7)), transpose(make(7, 6)))])).toEqual([
      'linear+add fused',
    ])
    expect(
      await ran((make) => [
        tanh(linear(transpose(make(8, 6, 5), [1, 2, 0]), make(8, 7), slice(make(14), [[1, null, 2]]))),
      ]),
    ).toEqual(['linear+tanh fused'])
    expect(await ran((make) => [relu(linear(make(5), make(5, 1), make(1)))])).toEqual(['linear+relu fused'])
    expect(await ran((make) => [add(make(40, 1), matmul(make(40, 30), make(30, 1)))])).toEqual([
      'matmul+add fused',
    ])
  })

  it('nothing to sum over, nothing at all', async () => {
    expect(await ran((make) => [gelu(linear(make(4, 0), make(0, 9), make(9)))])).toEqual([
      'linear+gelu fused',
    ])
    expect(await ran((make) => [gelu(linear(make(0, 4), make(4, 9), make(9)))])).toEqual([
      'linear+gelu fused',
    ])
  })
})

describe('what is not fused', () => {
  it('a value that somebody keeps', async () => {
    expect(
      await ran((make) => {
        const pre = linear(make(5, 6), make(6, 7), make(7))
        return [pre, gelu(pre)]
      }),
    ).toEqual(['gelu fused', 'linear fused'])
    expect(
      await ran((make) => {
        const act = gelu(linear(make(5, 6), make(6, 7), make(7)))
        return [add(act, make(5, 7)), act]
      }),
    ).toEqual(['add native', 'linear+gelu fused'])
  })

  it('a value that has another reader', async () => {
    expect(
      await ran((make) => {
        const pre = linear(make(5, 6), make(6, 7))
        return [silu(pre), mul(pre, 2)]
      }),
    ).toEqual(['linear fused', 'mul native', 'silu fused'])
  })

  it('a sum that broadcasts', async () => {
    for (const shape of [[7], [1, 7], [5, 1], [2, 5, 7]])
      expect(await ran((make) => [add(linear(make(5, 6), make(6, 7)), make(...shape))])).toEqual([
        'add native',
        'linear fused',
      ])
    expect(await ran((make) => [add(linear(make(1, 6), make(6, 7)), make(5, 7))])).toEqual([
      'add native',
      'linear fused',
    ])
  })

  it('a second activation', async () => {
    expect(await ran((make) => [tanh(gelu(linear(make(5, 6), make(6, 7))))])).toEqual([
      'linear+gelu fused',
      'tanh native',
    ])
  })
})

it('in bodies of loops: the same numbers', async () => {
  await ran((make) => {
    const w = make(6, 6)
    const { ys } = scan(
      ([h], [x]) => {
        const next = tanh(add(linear(h, w), x))
        return { carry: [next], ys: [next] }
      },
      { init: [make(2, 6)], xs: [make(4, 2, 6)] },
    )
    return [ys[0]]
  })
})

describe('gradients of linear', () => {
  it('run as one kernel; the forward value need not be kept for them, so the residual sum is fused', async () => {
    const report = await ran((make) => {
      const [x, w, b, r] = [make(3, 5, 6), make(6, 7), make(7), make(3, 5, 7)]
      const y = add(r, linear(x, w, b))
      return [y, ...grad(sum(mul(y, make(3, 5, 7))), [x, w, b, r])]
    })
    expect(report).toContain('linear+add fused')
    expect(report).toContain('linear.vjp fused')
  })

  it.each([
    ['a batch', [4, 9], [9, 5]],
    ['a vector', [9], [9, 5]],
    ['one column', [30, 9], [9, 1]],
    ['one input', [30, 1], [1, 8]],
    ['no rows', [0, 9], [9, 5]],
    ['no inputs', [4, 0], [0, 5]],
    ['large', [2, 130, 96], [96, 200]],
  ] as [string, number[], number[]][])('%s, with and without a bias', async (_, xs, ws) => {
    for (const hasBias of [true, false])
      for (const wanted of [[0, 1, 2], [1], [0], [2]]) {
        const chosen = wanted.filter((i) => hasBias || i < 2)
        if (chosen.length === 0) continue
        await ran((make) => {
          const all = [make(...xs), make(...ws), ...(hasBias ? [make(ws[1])] : [])]
          const y = linear(all[0], all[1], all[2])
          return grad(
            sum(mul(y, make(...y.shape))),
            chosen.map((i) => all[i]),
          )
        }, 1e-5)
      }
  })

  it('of inputs and cotangents that lie in no single row order', async () => {
    await ran((make) => {
      const x = transpose(make(4, 5, 3, 6), [2, 0, 1, 3])
      const w = transpose(make(7, 6))
      const y = linear(x, w, make(7))
      return grad(sum(mul(transpose(y, [1, 3, 0, 2]), make(4, 7, 3, 5))), [x, w])
    }, 1e-5)
    // a cotangent of one repeated number
    await ran((make) => {
      const [x, w, b] = [make(4, 5, 6), make(6, 7), make(7)]
      return grad(sum(linear(x, w, b)), [x, w, b])
    }, 1e-5)
    await ran((make) => {
      const [x, w] = [make(20, 6), make(6, 7)]
      return grad(sum(reshape(linear(x, w), [2, 10, 7])), [w])
    }, 1e-5)
  })
})
