// What is selected, in one place. Every view reads it and redraws in the next frame; no view talks to another.

export interface State {
  layer: number
  head: number
  /** Locked token, or null. */
  token: number | null
  /** Token under the pointer, or null: a preview of locking it. */
  hover: number | null
  /** Leave sinks out of pictures and scales. */
  hideSinks: boolean
  /** Scale each row to its own largest weight. */
  rowScale: boolean
  /** Colours of the text. */
  source: 'from' | 'to' | number
  mode: 'lines' | 'matrix' | 'near'
  /** Counts theme and size changes, so that cached drawings know they are stale. */
  look: number
}

export interface Store {
  readonly state: Readonly<State>
  set(change: Partial<State>): void
  /** Called in the next frame after a change, with what was drawn before. */
  subscribe(draw: (state: Readonly<State>, before: Readonly<State> | null) => void): void
  /** The same, after every view has drawn: the place to read sizes and scroll, so that a frame lays out once. */
  after(move: (state: Readonly<State>, before: Readonly<State> | null) => void): void
}

export function createStore(initial: State): Store {
  let state = initial
  let drawn: State | null = null
  let asked = false
  const draws: ((state: Readonly<State>, before: Readonly<State> | null) => void)[] = []
  const moves: typeof draws = []
  const frame = (): void => {
    asked = false
    const before = drawn
    drawn = state
    for (const draw of draws) draw(drawn, before)
    for (const move of moves) move(drawn, before)
  }
  const ask = (): void => {
    if (asked) return
    asked = true
    requestAnimationFrame(frame)
  }
  return {
    get state() {
      return state
    },
    set(change) {
      const next = { ...state, ...change }
      if ((Object.keys(change) as (keyof State)[]).every((key) => next[key] === state[key])) return
      state = next
      ask()
    },
    subscribe(draw) {
      draws.push(draw)
      ask()
    },
    after(move) {
      moves.push(move)
    },
  }
}

/** The token that views show: under the pointer first, else the locked one. */
export const shown = (s: Readonly<State>): number | null => s.hover ?? s.token
