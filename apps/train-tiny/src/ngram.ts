/**
 * Interpolated Kneser-Ney bigram and trigram models over token ids: the baselines that the built-in model has to
 * beat on the same tokens. One discount an order, D = n1 / (n1 + 2 n2) (Ney, Essen and Kneser 1994), continuation
 * counts below the highest order (Kneser and Ney 1995), the lowest order interpolated with the uniform distribution
 * (Chen and Goodman 1999, §2.7), so that every token has a probability and each row sums to one.
 */

/** What follows one context: its total, its number of different followers, and the count of each. */
interface Order {
  /** Count of context·token by key; the context's key times the vocabulary size plus the token. */
  counts: Map<number, number>
  totals: Map<number, number>
  types: Map<number, number>
  discount: number
}

export interface NgramModel {
  order: 2 | 3
  vocabSize: number
  /** P(token | context), the context's last `order − 1` tokens count; a shorter context backs off. */
  probability(context: ArrayLike<number>, token: number): number
  /** Mean negative log-likelihood in nats of `ids[1…]`, each given what stands before it. */
  loss(ids: ArrayLike<number>): { nats: number; count: number }
}

const bump = (map: Map<number, number>, key: number): number => {
  const n = (map.get(key) ?? 0) + 1
  map.set(key, n)
  return n
}

function finish(counts: Map<number, number>, vocabSize: number): Order {
  const totals = new Map<number, number>()
  const types = new Map<number, number>()
  let n1 = 0
  let n2 = 0
  for (const [key, count] of counts) {
    const context = Math.floor(key / vocabSize)
    totals.set(context, (totals.get(context) ?? 0) + count)
    bump(types, context)
    if (count === 1) n1++
    else if (count === 2) n2++
  }
  // with no count of one there is nothing to estimate from; any discount in (0, 1) keeps unseen tokens possible
  const discount = n1 > 0 ? n1 / (n1 + 2 * n2) : 0.5
  return { counts, totals, types, discount: discount < 1 ? discount : 0.9 }
}

/** Counts `ids` (documents joined by their end-of-text token) into an interpolated Kneser-Ney model. */
export function kneserNey(ids: ArrayLike<number>, vocabSize: number, order: 2 | 3): NgramModel {
  if (ids.length < order)
    throw new RangeError(`kneserNey: ${ids.length} tokens are too few for order ${order}`)
  // orders[k] has contexts of k tokens; the highest holds raw counts, the others continuation counts
  const highest = new Map<number, number>()
  const lower: Map<number, number>[] = Array.from({ length: order - 1 }, () => new Map())
  for (let i = order - 1; i < ids.length; i++) {
    let key = 0
    for (let k = order - 1; k >= 0; k--) {
      const id = ids[i - k] as number
      if (!(id >= 0 && id < vocabSize))
        throw new RangeError(`kneserNey: id ${id} at ${i - k} is outside 0…${vocabSize - 1}`)
      key = key * vocabSize + id
    }
    if (bump(highest, key) > 1) continue
    // a new n-gram: one more left neighbour for its suffix; a suffix that is new itself passes it on
    let suffix = key
    for (let k = order - 2; k >= 0; k--) {
      suffix %= vocabSize ** (k + 1)
      if (bump(lower[k] as Map<number, number>, suffix) > 1) break
    }
  }
  const orders = [...lower, highest].map((counts) => finish(counts, vocabSize))

  const probability = (context: ArrayLike<number>, token: number): number => {
    let p = 1 / vocabSize
    for (let k = 0; k < order; k++) {
      if (context.length < k) break
      let key = 0
      for (let j = context.length - k; j < context.length; j++) key = key * vocabSize + (context[j] as number)
      const { counts, totals, types, discount } = orders[k] as Order
      const total = totals.get(key)
      if (total === undefined) break // a context never seen: the lower order stands
      const count = counts.get(key * vocabSize + token) ?? 0
      p = (Math.max(count - discount, 0) + discount * (types.get(key) as number) * p) / total
    }
    return p
  }
  return {
    order,
    vocabSize,
    probability,
    loss: (held) => {
      let nats = 0
      for (let i = 1; i < held.length; i++) {
        const from = Math.max(0, i - order + 1)
        const context = Array.from({ length: i - from }, (_, j) => held[from + j] as number)
        nats -= Math.log(probability(context, held[i] as number))
      }
      return { nats: nats / (held.length - 1), count: held.length - 1 }
    },
  }
}
