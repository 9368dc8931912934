/**
 * A hash table from two token ids to a small number (a rank, a slot), in typed arrays: what merging and training look up
 * most. It refuses to delete.
 */
export class PairTable {
  private keys: Int32Array // left, right, left, right, …; left is -1 where free
  private values: Int32Array
  private mask: number
  size = 0

  constructor(expected = 64) {
    let capacity = 64
    while (capacity < expected * 2) capacity *= 2
    this.keys = new Int32Array(capacity * 2).fill(-1)
    this.values = new Int32Array(capacity)
    this.mask = capacity - 1
  }

  private place(left: number, right: number): number {
    let at = (Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca77)) >>> 0
    at = (at ^ (at >>> 15)) & this.mask
    while (this.keys[2 * at] !== -1 && (this.keys[2 * at] !== left || this.keys[2 * at + 1] !== right))
      at = (at + 1) & this.mask
    return at
  }

  /** -1 where there is none. */
  get(left: number, right: number): number {
    const at = this.place(left, right)
    return this.keys[2 * at] === -1 ? -1 : this.values[at]
  }

  set(left: number, right: number, value: number): void {
    let at = this.place(left, right)
    if (this.keys[2 * at] === -1) {
      if (++this.size * 2 > this.mask) {
        this.grow()
        at = this.place(left, right)
      }
      this.keys[2 * at] = left
      this.keys[2 * at + 1] = right
    }
    this.values[at] = value
  }

  private grow(): void {
    const { keys, values } = this
    this.mask = this.mask * 2 + 1
    this.keys = new Int32Array((this.mask + 1) * 2).fill(-1)
    this.values = new Int32Array(this.mask + 1)
    for (let i = 0; i < values.length; i++) {
      if (keys[2 * i] === -1) continue
      const at = this.place(keys[2 * i], keys[2 * i + 1])
      this.keys[2 * at] = keys[2 * i]
      this.keys[2 * at + 1] = keys[2 * i + 1]
      this.values[at] = values[i]
    }
  }
}
