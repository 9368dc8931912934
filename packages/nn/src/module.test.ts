import {
  add,
  currentPath,
  foldIn,
  grad,
  mul,
  parameters,
  randomKey,
  randomNormal,
  reference,
  ShapeError,
  setBackend,
  setParameters,
  sum,
  type Tensor,
  tap,
  tensor,
  traceLazy,
  ValueError,
} from '@heed/tensor'
import { beforeAll, describe, expect, it } from 'vitest'
import { embedding, gatedMlp, layerNorm, linear, mlp, module, normal, param, rmsNorm } from './index.js'

beforeAll(() => setBackend(reference()))

const leaf = (name: string) => module({ w: tensor([1, 2]) }, (m, x) => tap(name, mul(x, m.w)))

describe('module', () => {
  it('gives scope and parameter one key, in arrays and records too', () => {
    const seen: string[] = []
    const spy = () =>
      module({ w: tensor([1]) }, (_, x) => {
        seen.push(currentPath())
        return x
      })
    const model = module(
      {
        a: spy(),
        blocks: [spy(), module({ attn: spy() }, (m, x, ctx) => m.attn(x, ctx))],
        heads: { left: spy() },
      },
      (m, x) => {
        let y = m.a(x)
        for (const b of m.blocks) y = b(y)
        return m.heads.left(y)
      },
    )
    model(tensor([1]))
    expect(seen).toEqual(['a', 'blocks.0', 'blocks.1.attn', 'heads.left'])
    expect([...parameters(model).keys()]).toEqual(['a.w', 'blocks.0.w', 'blocks.1.attn.w', 'heads.left.w'])
    expect(currentPath()).toBe('')
  })

  it('pushes the whole path when a part of a part is called', () => {
    const model = module({ blocks: [module({ attn: leaf('z') }, (m, x) => m.attn(x))] }, (m, x) =>
      m.blocks[0].attn(x),
    )
    const run = traceLazy(model, tensor([3, 4]))
    expect(run.names()).toContain('blocks.0.attn.z')
    // a part taken from a module and placed in another stands under its new key only
    const other = module({ moved: model.blocks[0].attn }, (m, x) => m.moved(x))
    expect(traceLazy(other, tensor([3, 4])).names()).toContain('moved.z')
  })

  it('pushes the scope of plain functions too, and carries values that are no parts', () => {
    const config = Object.freeze({ dModel: 2, list: [1, 2] })
    const model = module({ f: (x: Tensor) => tap('y', x), config }, (m, x) => m.f(x))
    expect(traceLazy(model, tensor([1])).names()).toContain('f.y')
    expect(model.config).toBe(config)
    expect(parameters(model).size).toBe(0)
    expect(() => module({ 'a.b': tensor(1) }, (_, x) => x)).toThrow(ValueError)
  })

  it('exchanges parameters by identity: ties stay tied, the arrays of the caller stay untouched', async () => {
    const shared = tensor([1, 1])
    const list = [shared]
    const model = module(
      { list, tied: module({ w: shared }, (m, x) => mul(x, m.w)), b: tensor([0, 0]) },
      (m, x) => add(add(m.tied(x), m.list[0]), m.b),
    )
    expect([...parameters(model).keys()]).toEqual(['list.0', 'b'])
    const next = tensor([2, 3])
    setParameters(model, { 'tied.w': next })
    expect(parameters(model).get('list.0')).toBe(next)
    expect(list[0]).toBe(shared)
    expect(await model(tensor([10, 10])).array()).toEqual([22, 33])
  })

  it('refuses unknown paths, other shapes and two values for one tied weight, and then changes nothing', () => {
    const shared = tensor([1, 1])
    const model = module({ a: shared, b: shared, c: tensor([1]) }, (_, x) => x)
    expect(() => setParameters(model, { aa: tensor([1, 1]) })).toThrow(/no parameter 'aa'; nearest: a/)
    expect(() => setParameters(model, { c: tensor([1, 1]) })).toThrow(ShapeError)
    expect(() => setParameters(model, { c: tensor([1], { dtype: 'i32' }) })).toThrow(ShapeError)
    expect(() => setParameters(model, { c: tensor([5]), a: tensor([2, 2]), b: tensor([3, 3]) })).toThrow(
      /one tied weight/,
    )
    expect(parameters(model).get('a')).toBe(shared)
    expect(() => parameters((() => 1) as never)).toThrow(ValueError)
  })

  it('makes initial values from key and path, once, equal to randomNormal', async () => {
    const key = randomKey(7)
    const make = () =>
      module(
        { blocks: [0, 1].map(() => module({ w: param([3, 5], normal(0.5), key) }, (m, x) => mul(x, m.w))) },
        (m, x) => m.blocks[1](m.blocks[0](x)),
      )
    const model = make()
    const [first, second] = [...parameters(model).values()]
    const expected = await randomNormal(foldIn(key, 'blocks.1.w'), [3, 5], { std: 0.5 }).data()
    const got = await second.data()
    got.forEach((v, i) => expect(v).toBeCloseTo(Number(expected[i]), 6))
    expect(await first.array()).not.toEqual(await second.array())
    expect(await [...parameters(make()).values()][1].array()).toEqual(await second.array())
    expect(await second.data()).toBe(got)
    // a tied weight belongs where it was placed first
    const [tied, alone] = [param([4], normal(), key), param([4], normal(), key)]
    const model2 = module(
      { first: module({ w: tied }, (_, x) => x), last: module({ w: tied }, (_, x) => x) },
      (_, x) => x,
    )
    module({ first: module({ w: alone }, (_, x) => x) }, (_, x) => x)
    expect([...parameters(model2).keys()]).toEqual(['first.w'])
    expect(await tied.array()).toEqual(await alone.array())
    expect(() => param([2], normal(), foldIn(add(tensor([1, 2], { dtype: 'i32' }), 1), 1))).toThrow(
      /has no values yet/,
    )
  })
})

describe('layers', () => {
  it('multiplies from the right: x w + b', async () => {
    const l = linear({ in: 2, out: 3 })
    setParameters(l, {
      w: tensor([
        [1, 2, 3],
        [4, 5, 6],
      ]),
      b: tensor([10, 20, 30]),
    })
    expect(await l(tensor([[1, 2]])).array()).toEqual([[19, 32, 45]])
    expect([...parameters(linear({ in: 2, out: 3, bias: false })).keys()]).toEqual(['w'])
    expect(() => linear({ in: 2, out: 3, biass: true } as never)).toThrow(/'biass' is unknown/)
    expect(() => linear({ in: 0, out: 3 })).toThrow(/in is 0/)
  })

  it('looks ids up', async () => {
    const e = embedding({ vocabulary: 3, dModel: 2 })
    setParameters(e, {
      w: tensor([
        [0, 1],
        [2, 3],
        [4, 5],
      ]),
    })
    expect(await e(tensor([[2, 0]], { dtype: 'i32' })).array()).toEqual([
      [
        [4, 5],
        [0, 1],
      ],
    ])
  })

  it('normalises, and taps norms under their own key', async () => {
    const x = tensor([[1, 3]])
    const model = module(
      { ln1: layerNorm({ dModel: 2, eps: 0 }), ln2: rmsNorm({ dModel: 2, eps: 0 }) },
      (m, y) => m.ln2(m.ln1(y)),
    )
    setParameters(model, { 'ln1.w': tensor([2, 2]), 'ln1.b': tensor([1, 0]), 'ln2.w': tensor([1, 10]) })
    const run = traceLazy(model, x)
    expect(run.names().slice(0, 2)).toEqual(['ln1', 'ln2'])
    expect(await run.get('ln1').array()).toEqual([[-1, 2]])
    const [[a, b]] = await run.output.array()
    expect(a).toBeCloseTo(-1 / Math.sqrt(2.5), 6)
    expect(b).toBeCloseTo(20 / Math.sqrt(2.5), 5)
  })

  it('counts RMS weights from one where it is told to', async () => {
    const norm = rmsNorm({ dModel: 2, eps: 0, unitOffset: true })
    expect(await parameters(norm).get('w')?.array()).toEqual([0, 0])
    setParameters(norm, { w: tensor([1, 3]) })
    const [a, b] = await norm(tensor([1, -1])).array()
    expect([a, b]).toEqual([2, -4])
  })

  it('taps mlp_pre and mlp_post beside the block, for plain and gated MLPs', async () => {
    const plain = mlp({ dModel: 1, dMlp: 2, activation: 'relu' })
    setParameters(plain, {
      w_in: tensor([[1, -1]]),
      b_in: tensor([1, 1]),
      w_out: tensor([[1], [10]]),
      b_out: tensor([5]),
    })
    const run = traceLazy(
      module({ blocks: [module({ mlp: plain }, (m, x) => m.mlp(x))] }, (m, x) => m.blocks[0](x)),
      tensor([[2]]),
    )
    expect(run.names().slice(0, 2)).toEqual(['blocks.0.mlp_pre', 'blocks.0.mlp_post'])
    expect(await run.get('blocks.0.mlp_pre').array()).toEqual([[3, -1]])
    expect(await run.output.array()).toEqual([[8]])

    const gated = gatedMlp({ dModel: 1, dMlp: 2, activation: 'relu' })
    expect([...parameters(gated).keys()]).toEqual(['w_gate', 'w_in', 'w_out'])
    setParameters(gated, { w_gate: tensor([[3, -1]]), w_in: tensor([[5, 7]]), w_out: tensor([[1], [1]]) })
    const g = traceLazy(gated, tensor([[2]]))
    expect(await g.get('mlp_pre').array()).toEqual([[6, -2]])
    expect(await g.get('mlp_post').array()).toEqual([[60, 0]])
    expect(await g.output.array()).toEqual([[60]])
  })

  it('is differentiable in its parameters', async () => {
    const l = linear({ in: 2, out: 1 })
    setParameters(l, { w: tensor([[1], [2]]), b: tensor([0]) })
    const p = parameters(l)
    const [dw, db] = grad(
      sum(
        l(
          tensor([
            [3, 5],
            [7, 9],
          ]),
        ),
      ),
      [p.get('w') as Tensor, p.get('b') as Tensor],
    )
    expect(await dw.array()).toEqual([[10], [14]])
    expect(await db.array()).toEqual([2])
  })
})
