/**
 * The machine's peak at this very moment: a WebAssembly loop of independent multiply-adds, and one that reads memory. Both are
 * written here byte by byte, so that the yardstick shares no code with what it measures.
 */

const V128 = 0x7b
const I32 = 0x7f

const uleb = (n: number): number[] => {
  const out: number[] = []
  do {
    const low = n & 127
    n >>>= 7
    out.push(n ? low | 128 : low)
  } while (n)
  return out
}
const sleb = (n: number): number[] => {
  const out: number[] = []
  for (;;) {
    const low = n & 127
    n >>= 7
    if ((n === 0 && !(low & 64)) || (n === -1 && low & 64)) return [...out, low]
    out.push(low | 128)
  }
}
const text = (s: string): number[] => [...uleb(s.length), ...Array.from(s, (c) => c.charCodeAt(0))]
const section = (id: number, body: readonly number[]): number[] => [id, ...uleb(body.length), ...body]
const vector = (items: readonly (readonly number[])[]): number[] => [...uleb(items.length), ...items.flat()]

const get = (i: number): number[] => [0x20, ...uleb(i)]
const set = (i: number): number[] => [0x21, ...uleb(i)]
const i32 = (n: number): number[] => [0x41, ...sleb(n)]
const simd = (op: number): number[] => [0xfd, ...uleb(op)]
const load = (offset: number): number[] => [...simd(0), 4, ...uleb(offset)]
const store = (offset: number): number[] => [...simd(11), 4, ...uleb(offset)]
const ADD = simd(0xe4)
const MUL = simd(0xe6)
const MADD = simd(0x105)
const END = 0x0b

const ACCUMULATORS = 12
const LANES = 8

/** fma(times): 12 accumulators, one multiply-add each a turn. read(from, to): sums 128 bytes a turn. */
function moduleBytes(relaxed: boolean): Uint8Array<ArrayBuffer> {
  // locals of fma: 0 times, 1 x, 2 y, 3… accumulators
  const acc = Array.from({ length: ACCUMULATORS }, (_, i) => 3 + i)
  const madd = (a: number): number[] =>
    relaxed
      ? [...get(1), ...get(2), ...get(a), ...MADD, ...set(a)]
      : [...get(1), ...get(2), ...MUL, ...get(a), ...ADD, ...set(a)]
  const fma = [
    ...vector([[...uleb(ACCUMULATORS + 2), V128]]),
    ...[...i32(0), ...load(0), ...set(1), ...i32(0), ...load(16), ...set(2)],
    ...acc.flatMap((a) => [...i32(0), ...load(32), ...set(a)]),
    ...[0x03, 0x40],
    // without FMA the product would be the same in every turn, and hoisted: x follows an accumulator
    ...acc.flatMap(madd),
    ...(relaxed ? [] : [...get(acc[0]), ...set(1)]),
    ...[...get(0), ...i32(1), 0x6b, 0x22, 0, 0x0d, 0, END],
    ...acc.flatMap((a, i) => [...i32(0), ...get(a), ...store(64 + 16 * i)]),
    END,
  ]
  // locals of read: 0 from, 1 to, 2… sums
  const sums = Array.from({ length: LANES }, (_, i) => 2 + i)
  const read = [
    ...vector([[...uleb(LANES), V128]]),
    ...[0x03, 0x40],
    ...sums.flatMap((a, i) => [...get(a), ...get(0), ...load(16 * i), ...ADD, ...set(a)]),
    ...[...get(0), ...i32(16 * LANES), 0x6a, 0x22, 0, ...get(1), 0x49, 0x0d, 0, END],
    ...sums.flatMap((a, i) => [...i32(0), ...get(a), ...store(512 + 16 * i)]),
    END,
  ]
  const code = (body: readonly number[]): number[] => [...uleb(body.length), ...body]
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      vector([
        [0x60, 1, I32, 0],
        [0x60, 2, I32, I32, 0],
      ]),
    ),
    ...section(3, vector([[0], [1]])),
    ...section(5, vector([[0, ...uleb(PAGES)]])),
    ...section(
      7,
      vector([
        [...text('fma'), 0, 0],
        [...text('read'), 0, 1],
        [...text('memory'), 2, 0],
      ]),
    ),
    ...section(10, vector([code(fma), code(read)])),
  ])
}

const READ_BYTES = 96 * 2 ** 20
const FIRST = 65536
const PAGES = (FIRST + READ_BYTES) / 65536

export interface Probe {
  /** `relaxed_madd`, or `mul + add` where the engine has no relaxed SIMD. */
  readonly form: string
  /** GFLOP/s of one core, 128-bit lanes, in about 2 ms. */
  gflops(): number
  /** GB/s of one core reading 96 MB once. */
  gigabytes(): number
}

export function makeProbe(): Probe {
  const relaxed = WebAssembly.validate(moduleBytes(true))
  const bytes = moduleBytes(relaxed)
  const { fma, read, memory } = new WebAssembly.Instance(new WebAssembly.Module(bytes)).exports as {
    fma: (times: number) => void
    read: (from: number, to: number) => void
    memory: WebAssembly.Memory
  }
  // neither denormal nor infinite after any number of turns
  new Float32Array(memory.buffer, 0, 12).set([1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 1, 1, 1, 1])
  new Float32Array(memory.buffer, FIRST).fill(1)
  const turns = 1e5
  const flops = (turns * ACCUMULATORS * 4 * 2) / 1e6
  const timed = (f: () => void): number => {
    const start = performance.now()
    f()
    return performance.now() - start
  }
  for (let i = 0; i < 60; i++) fma(turns / 10) // past the first compiler
  return {
    form: relaxed ? 'relaxed_madd' : 'mul + add',
    gflops: () => flops / timed(() => fma(turns)),
    gigabytes: () => READ_BYTES / 1e6 / timed(() => read(FIRST, FIRST + READ_BYTES)),
  }
}
